// The page to try the service: what is asked and sent goes through the client that a site would use, persona.js.
import { Persona } from "./persona.js";

const ADDRESS = new URL(".", import.meta.url).pathname;
const TOKEN = "persona-token";
const token = sessionStorage.getItem(TOKEN);
const element = (id) => document.getElementById(id);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const milliseconds = (spent) => `${spent < 10 ? spent.toFixed(1) : Math.round(spent)} ms`;

// What a promise resolves to, and the milliseconds until then.
async function timed(promise) {
  const began = performance.now();
  return [await promise, performance.now() - began];
}

function say(text) {
  element("said").textContent = text;
}

function explain(error) {
  if (error.status === 401) {
    element("access").hidden = false;
    say(token ? "The token is not that of this service." : "This service needs a token.");
  } else say(error.status ? error.message : "The service does not answer.");
}

// A card with a list: what changes from one answer to the next is marked.
class Card {
  ranks = null;
  asked = 0;

  constructor(template, client) {
    this.client = client;
    this.root = element(template).content.firstElementChild.cloneNode(true);
    element("lists").append(this.root);
    this.list = this.root.querySelector("ol");
    this.note = this.root.querySelector(".note");
  }

  // Asks for the list and shows it. Resolves to what has changed, in words.
  async ask() {
    const asked = ++this.asked;
    const [answer, spent] = await timed(this.client.recommendations({ k: 10, slot: "try" }));
    if (asked !== this.asked) return "asked again"; // a newer answer is on its way
    const before = this.ranks;
    this.answer = answer;
    this.describe(answer);
    this.root.hidden = false;
    this.ranks = new Map(answer.items.map((item) => [item.item_id, item.rank]));
    const marks = answer.items.map((item) => mark(before, item));
    const focused = [...this.list.children].findIndex((entry) => entry.contains(document.activeElement));
    this.list.replaceChildren(...answer.items.map((item, index) => this.entry(item, marks[index])));
    this.list.children[Math.min(focused, this.list.children.length - 1)]?.querySelector("button")?.focus();
    const fresh = marks.filter((text) => text === "new").length;
    const moved = marks.filter((text) => text && text !== "new").length;
    const changes = before === null ? "" : fresh || moved ? `${fresh} new, ${moved} moved` : "unchanged";
    this.note.textContent = [`Answered in ${milliseconds(spent)}`, answer.items.length ? "" : "no item is left", changes].filter(Boolean).join("; ");
    return changes;
  }

  entry(item, change) {
    const entry = document.createElement("li");
    entry.classList.toggle("changed", change !== "");
    const shown = entry.appendChild(this.holder(item));
    shown.classList.add("item");
    const part = (name, text) => Object.assign(shown.appendChild(document.createElement("span")), { className: name, textContent: text });
    part("title", item.title);
    if (change) part("mark", change);
    part("facts", `${item.category ?? "no category"} `).append(
      Object.assign(document.createElement("span"), { className: "source", textContent: item.source }),
    );
    part("reason", item.reason);
    return entry;
  }

  // What holds an entry.
  holder() {
    return document.createElement("div");
  }

  // Whom the list is for, in words.
  describe() {}
}

function mark(before, item) {
  const was = before?.get(item.item_id);
  if (before === null || was === item.rank) return "";
  if (was === undefined) return "new";
  return was > item.rank ? `up ${was - item.rank}` : `down ${item.rank - was}`;
}

// The card of a person, in whose name its items can be clicked.
class PersonCard extends Card {
  constructor(letter) {
    super("person", new Persona({
      consent: true, announce: false, // to look at somebody's list says nothing in their name
      address: ADDRESS, token, name: `persona-try-${letter}`, storage: sessionStorage,
      refused: (event, error) => say(`The service refused ${event.event_type}: ${error.message}`),
    }));
    this.name = `Person ${letter}`;
    this.root.setAttribute("aria-label", this.name);
    this.root.querySelector("h2").textContent = this.name;
    const form = this.root.querySelector("form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.choose(form.elements.person.value.trim(), null).catch(explain);
    });
    form.querySelector(".new").addEventListener("click", () => {
      form.reset();
      this.somebodyNew().catch(explain);
    });
    [this.whom, this.consent] = this.root.querySelector(".whom").children;
    this.consent.addEventListener("click", () => {
      const value = this.answer.personal ? 0 : 1;
      this.tell("personalisation", { value }, `${this.name} ${value ? "agrees to lists of their own" : "wants no list of their own"}`).catch(explain);
    });
  }

  somebodyNew() {
    return this.choose(null, `try-${Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`);
  }

  async choose(user, device) {
    Object.assign(this.client, { user, device });
    this.ranks = null;
    await this.ask();
  }

  describe(answer) {
    const who = this.client.user === null ? "Somebody new" : this.client.user;
    const known = answer.known ? "known to the last run" : "not known to the last run";
    this.whom.textContent = `${who}, ${known}. ${answer.personal ? "The list is made for this person." : "Without consent the list is the same for all."}`;
    this.consent.textContent = answer.personal ? "Withdraw consent" : "Give consent";
  }

  holder(item) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.addEventListener("click", () => {
      const kind = document.querySelector("input[name=kind]:checked").value;
      this.tell(kind, { item_id: item.item_id, list_id: this.answer.list_id }, `${kind} of ${item.title} for ${this.name}`).catch(explain);
    });
    return button;
  }

  // Sends an event of this person, asks for all lists again, and says what came of it.
  async tell(kind, fields, words) {
    this.client.track(kind, fields);
    const [sent, spent] = await timed(this.client.flush());
    const told = sent ? `on the disk after ${milliseconds(spent)}` : "not sent yet, it is tried again";
    const changes = [];
    for (const card of cards) changes.push(`${card.name}: ${await card.ask()}`);
    say(`${words}, ${told}. ${changes.join(". ")}.`);
  }
}

class EverybodyCard extends Card {
  name = "All";

  constructor() {
    super("everybody", new Persona({ consent: false, address: ADDRESS, token, name: "persona-try-all", storage: sessionStorage }));
    this.root.setAttribute("aria-label", "The same for all");
  }
}

element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, element("token").value.trim());
  location.reload();
});

const people = ["A", "B"].map((letter) => new PersonCard(letter));
const cards = [...people, new EverybodyCard()];

async function start() {
  await cards[2].ask();
  for (const person of people) await person.somebodyNew();
  const answer = await fetch(`${ADDRESS}readyz`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
  const served = await answer.json();
  element("served").textContent = `Lists of ${served.model}, version ${served.model_version}; tables until ${served.until.slice(0, 10)}; ${plural(served.events, "event")} since.`;
}

start().catch(explain);
