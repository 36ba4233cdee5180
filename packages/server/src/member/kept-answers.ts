/**
 * Answers that cost much and that many ask for at the same time, such as the consoles of a control room: one
 * work at a time, the same question is answered once, and again from memory for a moment.
 */
import { refuse, type Refusal } from "@quorate/core";

const KEPT_MS = 2_000;
const KEPT_MAX = 32;
const WAITING_MAX = 8;

interface Kept<Answer> {
  /** Infinity while it is being made. */
  madeAtMs: number;
  readonly answer: Promise<Answer | Refusal>;
}

export class KeptAnswers<Answer> {
  private readonly kept = new Map<string, Kept<Answer>>();
  private lane: Promise<unknown> = Promise.resolve();
  private waiting = 0;
  private readonly nowMs: () => number;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** `busy` when too many other questions wait. */
  async get(question: string, make: () => Promise<Answer | Refusal>): Promise<Answer | Refusal> {
    this.forgetOld();
    const known = this.kept.get(question);
    if (known !== undefined) return known.answer;
    if (this.waiting >= WAITING_MAX) return BUSY;
    this.waiting += 1;
    const answer = this.lane.then(make).finally(() => {
      this.waiting -= 1;
    });
    this.lane = answer.catch(() => undefined);
    const kept = { madeAtMs: Number.POSITIVE_INFINITY, answer };
    this.kept.set(question, kept);
    const forget = (): void => {
      if (this.kept.get(question) === kept) this.kept.delete(question);
    };
    void answer.then(
      (made) => {
        kept.madeAtMs = this.nowMs();
        // A refusal is not worth keeping: the next one may be better off.
        if (typeof made === "object" && made !== null && "refused" in made) forget();
      },
      () => forget(),
    );
    return answer;
  }

  private forgetOld(): void {
    const oldest = this.nowMs() - KEPT_MS;
    for (const [question, { madeAtMs }] of this.kept) {
      const isMade = madeAtMs !== Number.POSITIVE_INFINITY;
      if (madeAtMs < oldest || (isMade && this.kept.size > KEPT_MAX)) this.kept.delete(question);
    }
  }
}

const BUSY = refuse("busy", "too many reports are asked for here at once; try again", {
  retryAfterMs: 2_000,
});
