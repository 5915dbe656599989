// Sends every change to the server, one after the other, and shows whether all is saved. A change that the server could not be
// reached for stays in the queue and is sent again with the same key: the server stores it once.
import {csrf} from "./dom.js";

const AGAIN = 2500; // ms
const unsure = (status) => status === 0 || status === 401 || status === 502 || status === 503 || status === 507;

export class Saver {
  /** news: gets each answer of the server; refused: gets a refused change, and why; show: (kind, text). */
  constructor(smear, {news, refused, show, since}) {
    Object.assign(this, {path: `/api/v1/smears/${smear}`, news, refused, show, since, queue: [], busy: false});
    addEventListener("beforeunload", (event) => { if (this.queue.length) event.preventDefault(); });
  }

  /** Send a change. The promise is kept when it is stored, and broken when it is refused. */
  send(what, body = {}) {
    return new Promise((stored, broken) => {
      this.queue.push({what, body: {...body, key: crypto.randomUUID()}, stored, broken});
      this.work();
    });
  }

  /** The cells that are answered by changes that are not stored yet. */
  get answered() {
    return new Set(this.queue.flatMap(({what, body}) => what === "decisions" && body.did !== "restore" ? body.cells : []));
  }

  async work() {
    if (this.busy) return;
    this.busy = true;
    while (this.queue.length) {
      const one = this.queue[0];
      this.show("saving", "Saving …");
      const [status, said] = await this.post(one);
      if (unsure(status)) {
        this.show("lost", `Not saved: ${said.error}. Trying again …`);
        await new Promise((done) => setTimeout(done, AGAIN));
        continue;
      }
      this.queue.shift();
      if (status === 200) {
        this.news(said);
        one.stored(said);
      } else {
        one.broken(new Error(said.error));
        await this.refused(one, said.error);
      }
    }
    this.busy = false;
    this.show("saved", "Saved");
  }

  async post({what, body}) {
    try {
      const answer = await fetch(`${this.path}/${what}`, {
        method: "POST", headers: {"content-type": "application/json", "x-leukoscope": csrf()},
        body: JSON.stringify({...body, since: this.since()})});
      return [answer.status, await answer.json()];
    } catch {
      return [0, {error: "the server does not answer"}];
    }
  }

  async get(what = "") {
    const answer = await fetch(this.path + what);
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    return said;
  }
}
