// The client of persona serve for a web page: lists to show, and events that are sent in batches, survive a page and count once.
// One file, nothing else needed:  import { Persona } from "/persona.js";

const LARGEST_BATCH = 100;
const LARGEST_BODY = 60_000; // bytes; a request that outlives its page may have 64 KiB
const FIRST_WAIT = 500;
const LONGEST_WAIT = 60_000; // milliseconds between two attempts
const PERSONALISATION = "personalisation"; // what the person says of lists of their own: value 0 or 1

// The service said no, or did not answer (status 0). `body` is its answer: title, detail and errors with field, found and expected.
export class PersonaError extends Error {
  constructor(message, status, body = null, retryAfter = 0) {
    super(message);
    Object.assign(this, { name: "PersonaError", status, body, retryAfter });
  }
}

export class Persona {
  #names; #address; #token; #interval; #most; #refused; #storage; #announce; #consent;
  #timer = null; #failures = 0; #sending = null;

  // consent: whether the person agreed. Without it nothing is sent, nothing is stored, and lists are asked without an id.
  // announce: whether the service is told that they agreed, once for an id, before anything else (`personalisation` with `value` 1); false where it knows
  // from your customer list or your server.
  // user, device: ids; without both a random id of the device is made, and kept in `storage`.
  // address: where the service is, such as "/persona"; token: only where no stranger sees the page.
  // interval: milliseconds in which events are gathered; most: events that wait, beyond them the oldest is dropped (and counted in `dropped`).
  // refused(event, error): an event that the service does not take; it is not sent again.
  constructor({ consent, announce = true, user = null, device = null, address = "", token = null, name = "persona", interval = 1000, most = 500,
                refused = (event, error) => console.warn("refused", event, error), storage = ownStorage() }) {
    if (typeof consent !== "boolean") throw new TypeError(`consent: found ${consent}; expected true or false`);
    Object.assign(this, { user, device, dropped: 0 });
    this.#names = { queue: `${name}-queue`, device: `${name}-device`, said: `${name}-said` };
    [this.#address, this.#token] = [address.replace(/\/+$/, ""), token];
    [this.#interval, this.#most] = [interval, most];
    [this.#refused, this.#storage, this.#announce] = [refused, storage, announce];
    this.consent = consent;
    globalThis.addEventListener?.("pagehide", () => this.flush());
    globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.flush());
  }

  get consent() { return this.#consent; }

  // From false on, what waits is forgotten, but for a withdrawal that the service does not know yet; so is the id of the device, and for whom it was told
  // that they agree: after a new consent it is told again.
  set consent(agreed) {
    this.#consent = agreed;
    if (!agreed) {
      this.#keep(this.#queue().filter((event) => event.event_type === PERSONALISATION && !event.value));
      [this.#names.device, this.#names.said].forEach((name) => this.#storage.removeItem(name));
    }
    if (this.waiting) this.#later(0);
  }

  // How many events wait to be sent.
  get waiting() { return this.#queue().length; }

  // A list as the service answers it. The wishes are those of POST /v1/recommendations: k, session, exclude, categories, not_categories,
  // price_below, in_stock, slot, campaign, country, referrer. Throws a PersonaError where none comes within `seconds`: show what you show to everybody then.
  // The first one waits until the service knows that the person agreed, for half of that time at most.
  async recommendations({ seconds = 2, ...wishes } = {}) {
    const until = Date.now() + seconds * 1000;
    this.#say();
    if (!this.#failures && this.#queue().some((event) => event.event_type === PERSONALISATION)) {
      await Promise.race([this.flush(), new Promise((go) => setTimeout(go, seconds * 500))]);
    }
    return await this.#post("/v1/recommendations", JSON.stringify({ ...wishes, ...this.#whom("user", "device") }), { seconds: (until - Date.now()) / 1000 });
  }

  // Something that happened now. `fields` are those of POST /v1/events: item_id, value, quantity, currency, list_id ... Returns the event's id.
  track(eventType, fields = {}) {
    if (!this.#consent) return null;
    if (eventType === PERSONALISATION) this.#store(this.#names.said, this.#person());
    else this.#say();
    const event = { event_id: newId(), timestamp: new Date().toISOString(), event_type: eventType, ...this.#whom("user_id", "anonymous_id"), ...fields };
    this.#keep([...this.#queue(), event]);
    this.#later(this.#interval);
    return event.event_id;
  }

  // Sends what waits, now. Resolves to whether nothing waits any more; otherwise it is tried again, later and later.
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#sending ??= this.#send().finally(() => { this.#sending = null; });
    await this.#sending;
    return this.waiting === 0;
  }

  // The person says no: what waits is forgotten, the service is told that lists are the same for all, and nothing more is sent.
  // Resolves to whether the service knows already; otherwise it is told as soon as it answers.
  async withdraw() {
    if (this.#consent) {
      this.track(PERSONALISATION, { value: 0 });
      this.consent = false;
    }
    return await this.flush();
  }

  // That the person agrees, where it has not been said of this id yet.
  #say() {
    if (this.#announce && this.#consent && this.#storage.getItem(this.#names.said) !== this.#person()) this.track(PERSONALISATION, { value: 1 });
  }

  #person() { return JSON.stringify(this.#whom("user", "device")); }

  #whom(user, device) {
    if (!this.#consent) return {};
    if (this.user === null && this.device === null) {
      this.device = this.#storage.getItem(this.#names.device) ?? newId();
      this.#store(this.#names.device, this.device);
    }
    return { ...(this.user === null ? {} : { [user]: this.user }), ...(this.device === null ? {} : { [device]: this.device }) };
  }

  #later(wait) {
    this.#timer ??= setTimeout(() => this.flush(), wait);
    this.#timer.unref?.(); // in Node, no process stays for it
  }

  async #send() {
    let most = LARGEST_BATCH;
    for (let queue = this.#queue(); queue.length; queue = this.#queue()) {
      const batch = fitting(queue.slice(0, most));
      try {
        await this.#post("/v1/events", JSON.stringify(batch), { keepalive: true });
        this.#done(batch);
        this.#failures = 0;
        most = LARGEST_BATCH;
      } catch (error) {
        if (error.status === 0 || error.status === 408 || error.status === 429 || error.status >= 500) {
          const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#failures++);
          clearTimeout(this.#timer);
          this.#timer = null;
          return this.#later(Math.max(error.retryAfter * 1000, longest * Math.random()));
        }
        if ([400, 413, 422].includes(error.status) && batch.length > 1) {
          most = Math.ceil(batch.length / 2); // one event spoils the whole batch: the search for it goes on in halves
        } else {
          this.#done(batch);
          batch.forEach((event) => this.#refused(event, error));
        }
      }
    }
  }

  async #post(path, body, { seconds = 10, keepalive = false }) {
    const headers = { "content-type": "application/json", ...(this.#token ? { authorization: `Bearer ${this.#token}` } : {}) };
    let answer, told;
    try {
      answer = await fetch(this.#address + path, { method: "POST", headers, body, keepalive, signal: AbortSignal.timeout(Math.ceil(seconds * 1000)) });
      told = await answer.json().catch(() => null);
    } catch (error) {
      throw new PersonaError(`no answer: ${error.message}`, 0);
    }
    if (answer.ok && told) return told;
    const status = answer.ok ? 0 : answer.status; // what is no JSON comes from something between, such as the page of a network that wants a login
    throw new PersonaError(told?.detail ?? `status ${answer.status}`, status, told, Number(answer.headers.get("retry-after")) || 0);
  }

  // What waits stands in the storage alone, so that pages that are open side by side do not lose each other's events.
  #queue() {
    try {
      return JSON.parse(this.#storage.getItem(this.#names.queue)) ?? [];
    } catch {
      return [];
    }
  }

  #keep(queue) {
    const kept = [...queue];
    while (kept.length && (kept.length > this.#most || !this.#store(this.#names.queue, JSON.stringify(kept)))) { // false: the storage is full
      kept.splice(Math.max(0, kept.findIndex((event) => event.event_type !== PERSONALISATION)), 1); // what was said of consent goes last
      this.dropped += 1;
    }
    if (!kept.length) this.#storage.removeItem(this.#names.queue);
  }

  #done(batch) {
    const sent = new Set(batch.map((event) => event.event_id));
    this.#keep(this.#queue().filter((event) => !sent.has(event.event_id)));
  }

  #store(name, text) {
    try {
      this.#storage.setItem(name, text);
      return true;
    } catch {
      return false;
    }
  }
}

function newId() { // crypto.randomUUID is there on https alone
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The first events whose text is not too large for one request, one at least.
function fitting(events) {
  let size = 2;
  const end = events.findIndex((event) => (size += new TextEncoder().encode(JSON.stringify(event)).length + 1) > LARGEST_BODY);
  return end < 0 ? events : events.slice(0, Math.max(end, 1));
}

// That of the browser; where there is none, or it is forbidden, what waits lives as long as the page.
function ownStorage() {
  try {
    globalThis.localStorage.getItem("persona");
    return globalThis.localStorage;
  } catch {
    const held = new Map();
    return { getItem: (name) => held.get(name) ?? null, setItem: (name, text) => held.set(name, text), removeItem: (name) => held.delete(name) };
  }
}
