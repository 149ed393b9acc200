// The client for browsers: what happens is told once, whatever happens on the way, and nothing without consent.
// Run by test_persona_js.py, beside a copy of persona.js; SERVICE is the address of a service that runs.
// RELUCTANT is that of one that takes no consent for granted.
import assert from "node:assert/strict";
import test from "node:test";

import { Persona, PersonaError } from "./persona.mjs";

const { SERVICE } = process.env;
const answered = globalThis.fetch;

class Storage {
  held = new Map();
  getItem(name) { return this.held.get(name) ?? null; }
  setItem(name, text) { this.held.set(name, text); }
  removeItem(name) { this.held.delete(name); }
}

// A storage of which a page before has told the service that a person agrees.
function agreed(user = "u3") {
  const storage = new Storage();
  storage.setItem("persona-said", JSON.stringify({ user }));
  return storage;
}

function replaced(context, fetch) {
  globalThis.fetch = fetch;
  context.after(() => { globalThis.fetch = answered; });
}

// A service whose answers are planned: statuses, Responses, or an Error for a network that fails; after them 202. Returns what it is asked.
function planned(context, ...answers) {
  const asked = [];
  replaced(context, async (address, options) => {
    asked.push({ address, ...options, document: JSON.parse(options.body) });
    const answer = answers.length ? answers.shift() : 202;
    if (answer instanceof Error) throw answer;
    return typeof answer === "number" ? Response.json({}, { status: answer }) : answer;
  });
  return asked;
}

async function until(true_) {
  const began = Date.now();
  while (!true_()) {
    assert.ok(Date.now() - began < 5000, "not so within 5 s");
    await new Promise((go) => setImmediate(go));
  }
}

const later = () => Response.json({}, { status: 503, headers: { "retry-after": "100" } });
const turns = async () => { for (let turn = 0; turn < 20; turn++) await new Promise((go) => setImmediate(go)); };
const made = (options = {}) => new Persona({ consent: true, user: "u3", storage: agreed(), ...options });
const kinds = (document) => document.map((event) => event.value === undefined ? event.event_type : `${event.event_type} ${event.value}`);

test("the next list of a running service knows what was told", async () => {
  const persona = made({ address: SERVICE });
  const before = await persona.recommendations({ k: 5 });
  persona.track("item_view", { item_id: before.items[0].item_id, list_id: before.list_id });
  assert.ok(await persona.flush());
  const after = await persona.recommendations({ k: 5 });
  assert.ok(!after.items.some((item) => item.item_id === before.items[0].item_id));
  assert.equal(persona.waiting, 0);
});

test("what is wrong in a question is told with the field", async () => {
  await assert.rejects(made({ address: SERVICE }).recommendations({ k: 0 }), (error) => {
    assert.ok(error instanceof PersonaError);
    assert.equal(error.status, 422);
    assert.equal(error.body.errors[0].field, "k");
    return true;
  });
});

test("every wish and the token reach the service", async (context) => {
  const asked = planned(context);
  const wishes = { k: 3, session: ["i1"], exclude: ["i2"], categories: ["a"], not_categories: ["b"], price_below: 20, in_stock: true, slot: "front" };
  await made({ device: "d-1", address: "/persona/", token: "secret" }).recommendations(wishes);
  assert.deepEqual(asked.map(({ address }) => address), ["/persona/v1/events", "/persona/v1/recommendations"]);
  assert.deepEqual(asked[1].document, { ...wishes, user: "u3", device: "d-1" });
  assert.deepEqual(asked.map(({ headers }) => headers.authorization), ["Bearer secret", "Bearer secret"]);
});

test("an event is sent again, later and later, and stays the same", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  context.mock.method(Math, "random", () => 1);
  const page = new Response("<html>log in to this network</html>");
  const asked = planned(context, 503, new TypeError("failed to fetch"), 429, page, later());
  const persona = made();
  const event = persona.track("item_view", { item_id: "i1" });
  for (const [number, wait] of [1000, 500, 1000, 2000, 4000, 100_000].entries()) {
    context.mock.timers.tick(wait - 1);
    assert.equal(asked.length, number);
    context.mock.timers.tick(1);
    await until(() => asked.length === number + 1);
    await turns();
  }
  assert.equal(persona.waiting, 0);
  for (const { document } of asked) assert.deepEqual(document, asked[0].document);
  const [{ event_id, timestamp, ...rest }] = asked[0].document;
  assert.equal(event_id, event);
  assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
  assert.deepEqual(rest, { event_type: "item_view", user_id: "u3", item_id: "i1" });
});

test("what happens while one waits for the next attempt does not bring it forward", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const asked = planned(context, later());
  const persona = made();
  persona.track("item_view", { item_id: "i1" });
  const sent = persona.flush();
  persona.track("item_view", { item_id: "i2" });
  assert.equal(await sent, false);
  persona.track("item_view", { item_id: "i3" });
  context.mock.timers.tick(99_999);
  await turns();
  assert.equal(asked.length, 1);
  context.mock.timers.tick(1);
  await until(() => persona.waiting === 0);
  assert.equal(asked[1].document.length, 3);
});

test("an answer that was lost counts no event twice", async (context) => {
  const told = [];
  replaced(context, async (...request) => {
    const answer = await answered(...request);
    told.push(await answer.clone().json());
    if (told.length === 1) throw new TypeError("the connection broke after the service had all");
    return answer;
  });
  const persona = made({ address: SERVICE });
  persona.track("item_view", { item_id: "i12" });
  assert.equal(await persona.flush(), false);
  assert.equal(await persona.flush(), true);
  assert.deepEqual(told, [{ accepted: 1, repeated: 0 }, { accepted: 0, repeated: 1 }]);
});

test("what waits survives the page", async (context) => {
  const storage = agreed();
  planned(context, later());
  const first = made({ storage });
  first.track("item_view", { item_id: "i1" });
  assert.equal(await first.flush(), false);
  const asked = planned(context);
  const second = made({ storage, user: "u4" });
  await until(() => second.waiting === 0);
  assert.deepEqual(asked[0].document.map((event) => [event.user_id, event.item_id]), [["u3", "i1"]]);
  assert.deepEqual([...storage.held.keys()], ["persona-said"]);
});

test("pages side by side do not lose each other's events", async (context) => {
  const storage = agreed();
  const asked = planned(context);
  const [one, other] = [made({ storage }), made({ storage })];
  one.track("item_view", { item_id: "i1" });
  other.track("item_view", { item_id: "i2" });
  assert.ok(await one.flush());
  assert.deepEqual(asked.flatMap(({ document }) => document.map((event) => event.item_id)), ["i1", "i2"]);
});

test("a page that is left sends what waits, by a request that outlives it", async (context) => {
  const listeners = {};
  globalThis.addEventListener = (name, listener) => { listeners[name] = listener; };
  context.after(() => delete globalThis.addEventListener);
  const asked = planned(context);
  const persona = made();
  persona.track("item_view", { item_id: "i1" });
  listeners.pagehide();
  assert.equal(asked.length, 1); // at once, within the event
  assert.equal(asked[0].keepalive, true);
});

test("no request is larger than one that outlives its page may be", async (context) => {
  const asked = planned(context);
  const persona = made();
  for (let number = 0; number < 250; number++) persona.track("item_view", { item_id: `i${number}`, referrer: "ä".repeat(500) });
  assert.ok(await persona.flush());
  assert.deepEqual(asked.flatMap(({ document }) => document.map((event) => event.item_id)), Array.from({ length: 250 }, (_, number) => `i${number}`));
  assert.ok(asked.every(({ body }) => new TextEncoder().encode(body).length <= 60_000));
});

test("of too many that wait the oldest are dropped and counted, and so they are where the storage is full", async (context) => {
  planned(context, new TypeError("offline"));
  const storage = agreed();
  const persona = made({ most: 3, storage });
  for (let number = 0; number < 5; number++) persona.track("item_view", { item_id: `i${number}` });
  assert.deepEqual([persona.waiting, persona.dropped], [3, 2]);
  storage.setItem = (name, text) => {
    if (text.length > 400) throw new Error("QuotaExceededError");
    storage.held.set(name, text);
  };
  persona.track("item_view", { item_id: "i5" });
  const kept = JSON.parse(storage.getItem("persona-queue")).map((event) => event.item_id);
  assert.equal(kept.at(-1), "i5");
  assert.ok(kept.length < 3);
  assert.equal(persona.dropped, 6 - kept.length);
});

test("one event that is refused does not hold up the others", async () => {
  const refused = [];
  const persona = made({ address: SERVICE, refused: (event, error) => refused.push([event.item_id, error.status, error.body.errors[0].field]) });
  for (let number = 0; number < 9; number++) persona.track(number === 5 ? "stared_at" : "item_view", { item_id: `i${number}` });
  assert.ok(await persona.flush());
  assert.deepEqual(refused, [["i5", 422, "event_type"]]);
});

test("a wrong token is told, and asked with once", async (context) => {
  const asked = planned(context, 401);
  const refused = [];
  const persona = made({ refused: (event, error) => refused.push(error.status) });
  persona.track("item_view", { item_id: "i1" });
  persona.track("item_view", { item_id: "i2" });
  assert.ok(await persona.flush());
  assert.deepEqual([refused, asked.length], [[401, 401], 1]);
});

test("without consent nothing is sent or kept, and lists are for nobody", async (context) => {
  const asked = planned(context, 200);
  const storage = new Storage();
  const persona = made({ consent: false, storage, device: "d-1" });
  assert.equal(persona.track("item_view", { item_id: "i1" }), null);
  assert.ok(await persona.flush());
  assert.ok(await persona.withdraw());
  await persona.recommendations({ k: 2 });
  assert.deepEqual(asked.map(({ address, document }) => [address, document]), [["/v1/recommendations", { k: 2 }]]);
  assert.equal(storage.held.size, 0);
});

test("consent has to be said", () => {
  assert.throws(() => new Persona({}), /consent: found undefined; expected true or false/);
});

test("a device has an id of its own from consent on, and none after it", async (context) => {
  planned(context);
  const storage = new Storage();
  const persona = made({ consent: false, user: null, storage });
  persona.consent = true;
  persona.track("item_view", { item_id: "i1" });
  const { anonymous_id } = JSON.parse(storage.getItem("persona-queue")).at(-1);
  assert.match(anonymous_id, /^[0-9a-f]{32}$/);
  const next = made({ user: null, storage });
  next.track("item_view", { item_id: "i2" });
  const queue = JSON.parse(storage.getItem("persona-queue"));
  assert.deepEqual(queue.map((event) => event.anonymous_id), [anonymous_id, anonymous_id, anonymous_id]);
  assert.deepEqual(kinds(queue), ["personalisation 1", "item_view", "item_view"]);
  next.consent = false;
  assert.equal(storage.held.size, 0);
});

test("with consent the service is told so before the first list, and with the first events, once", async (context) => {
  const storage = new Storage();
  const asked = planned(context, 202, 200);
  const persona = made({ storage });
  await persona.recommendations({ k: 2 });
  assert.deepEqual(asked.map(({ address }) => address), ["/v1/events", "/v1/recommendations"]);
  assert.deepEqual([kinds(asked[0].document), asked[0].document[0].user_id], [["personalisation 1"], "u3"]);
  const next = made({ storage }); // the next page
  next.track("item_view", { item_id: "i1" });
  assert.ok(await next.flush());
  await next.recommendations();
  assert.deepEqual(kinds(asked[2].document), ["item_view"]);
  assert.equal(asked.length, 4);
  const other = made({ storage, user: "u4" }); // somebody else in the same browser
  other.track("item_view", { item_id: "i1" });
  assert.ok(await other.flush());
  assert.deepEqual(kinds(asked[4].document), ["personalisation 1", "item_view"]);
});

test("where the service knows of the consent by others, nothing is announced", async (context) => {
  const asked = planned(context);
  const persona = made({ storage: new Storage(), announce: false });
  persona.track("item_view", { item_id: "i1" });
  await persona.recommendations();
  assert.ok(await persona.flush());
  assert.deepEqual(asked.map(({ address }) => address), ["/v1/recommendations", "/v1/events"]);
  assert.deepEqual(kinds(asked[1].document), ["item_view"]);
});

test("after a withdrawal a new consent is told again", async (context) => {
  const asked = planned(context);
  const persona = made();
  assert.ok(await persona.withdraw());
  persona.consent = true;
  persona.track("item_view", { item_id: "i1" });
  assert.ok(await persona.flush());
  assert.deepEqual(asked.map(({ document }) => kinds(document)), [["personalisation 0"], ["personalisation 1", "item_view"]]);
});

test("what a person says of lists of their own is not overruled by their consent", async (context) => {
  const asked = planned(context);
  const persona = made({ storage: new Storage() });
  persona.track("personalisation", { value: 0 });
  persona.track("item_view", { item_id: "i1" });
  await persona.recommendations();
  assert.deepEqual(kinds(asked[0].document), ["personalisation 0", "item_view"]);
});

test("that a person agrees is forgotten with their consent, where it was not sent yet", async (context) => {
  const asked = planned(context, later());
  const storage = new Storage();
  const persona = made({ storage });
  persona.track("item_view", { item_id: "i1" });
  assert.equal(await persona.flush(), false);
  persona.consent = false;
  assert.deepEqual([storage.held.size, asked.length], [0, 1]);
});

test("a list comes though the service cannot be told of the consent, at once or at all", async (context) => {
  const asked = planned(context, later(), 200);
  const persona = made({ storage: new Storage() });
  assert.deepEqual(await persona.recommendations(), {});
  assert.deepEqual(await persona.recommendations(), {}); // while it is waited for the next attempt
  assert.deepEqual(asked.map(({ address }) => address), ["/v1/events", "/v1/recommendations", "/v1/recommendations"]);
  replaced(context, (address, { signal }) => address === "/v1/recommendations" ? Response.json({ late: true })
    : new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(signal.reason))));
  assert.deepEqual(await made({ storage: new Storage() }).recommendations({ seconds: 0.1 }), { late: true });
});

test("of what is dropped what was said of consent is the last", async (context) => {
  planned(context, new TypeError("offline"));
  const storage = new Storage();
  const persona = made({ storage, most: 3 });
  for (let number = 0; number < 5; number++) persona.track("item_view", { item_id: `i${number}` });
  assert.deepEqual(kinds(JSON.parse(storage.getItem("persona-queue"))), ["personalisation 1", "item_view", "item_view"]);
  assert.equal(persona.dropped, 3);
});

test("lists are made for who agreed, though the service takes no consent for granted", async () => {
  const persona = made({ address: process.env.RELUCTANT, user: null, storage: new Storage() });
  assert.equal((await persona.recommendations({ session: ["i1"] })).personal, true);
});

test("who withdraws is forgotten, and the service told", async () => {
  const persona = made({ address: SERVICE, user: "u6" });
  assert.equal((await persona.recommendations()).personal, true);
  persona.track("item_view", { item_id: "i1" });
  assert.ok(await persona.withdraw());
  assert.equal(persona.track("item_view", { item_id: "i2" }), null);
  assert.equal((await made({ address: SERVICE, user: "u6" }).recommendations()).personal, false);
  assert.equal((await persona.recommendations()).known, false);
});

test("a withdrawal that the service does not know yet is told later, by the next page too", async (context) => {
  planned(context, later());
  const storage = agreed();
  const persona = made({ storage });
  persona.track("item_view", { item_id: "i1" });
  assert.equal(await persona.withdraw(), false);
  const asked = planned(context);
  const next = made({ storage, consent: false });
  await until(() => next.waiting === 0);
  assert.deepEqual(asked[0].document.map((event) => [event.event_type, event.user_id, event.value]), [["personalisation", "u3", 0]]);
  assert.equal(storage.held.size, 0);
});

test("a browser that has no storage, or forbids it, is no reason to fail", async (context) => {
  const asked = planned(context);
  context.after(() => delete globalThis.localStorage);
  for (const get of [() => undefined, () => { throw new Error("SecurityError"); }]) {
    Object.defineProperty(globalThis, "localStorage", { configurable: true, get });
    const persona = new Persona({ consent: true });
    persona.track("item_view", { item_id: "i1" });
    assert.equal(persona.waiting, 2);
    assert.ok(await persona.flush());
  }
  assert.equal(asked.length, 2);
});
