"use strict";
const { dimensions, columns, cells, words, language } = JSON.parse(document.getElementById("data").textContent);
const number = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const place = Object.fromEntries(columns.map((name, at) => [name, at]));

function chosen(side) {
  return dimensions.map((name) => document.getElementById(`${side}-${name}`).value);
}

function summed(side) {
  const wanted = chosen(side);
  const found = { users: 0, reachable: 0, spent: null, likely: null, leaving: null };
  const known = { likely: 0, leaving: 0 };
  for (const cell of cells) {
    if (!dimensions.every((name, at) => wanted[at] === "" || cell[place[name]] === wanted[at])) continue;
    const users = cell[place.users];
    found.users += users;
    if (place.reachable !== undefined && cell[place.reachable] === "yes") found.reachable += users;
    for (const name of ["spent", "likely", "leaving"]) {
      if (cell[place[name]] === null) continue;
      found[name] = (found[name] ?? 0) + cell[place[name]];
      if (name in known) known[name] += users;
    }
  }
  return [
    [words.users, number.format(found.users)],
    place.reachable === undefined ? null : [words.reachable, number.format(found.reachable)],
    found.spent === null ? null : [words.spent, number.format(found.spent)],
    found.spent === null || !found.users ? null : [words.mean, number.format(found.spent / found.users)],
    ...["likely", "leaving"].map((name) => (found[name] === null || !known[name] ? null : [words[name], number.format((100 * found[name]) / known[name])])),
  ].filter(Boolean);
}

function show() {
  const sides = ["first", "second"].map(summed);
  const names = [...new Set(sides.flat().map(([name]) => name))];
  const body = document.getElementById("figures");
  body.replaceChildren(
    ...names.map((name) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      for (const side of sides) {
        const cell = document.createElement("td");
        cell.className = "n";
        cell.textContent = side.find(([found]) => found === name)?.[1] ?? words.none;
        row.append(cell);
      }
      return row;
    }),
  );
}

document.querySelectorAll("select").forEach((choice) => choice.addEventListener("change", show));
show();
