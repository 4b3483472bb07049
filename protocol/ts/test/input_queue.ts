/** The server's side of inputs, SPEC.md section 7. */
export class InputQueue<T> {
  readonly #waiting: T[] = [];
  #starved = 0;
  #least = Infinity;
  #ticks = 0;

  push(input: T) {
    this.#waiting.push(input);
  }

  /** One tick: its margin, and the inputs that it takes. */
  take(): { margin: number; taken: T[] } {
    const count = this.#waiting.length;
    this.#starved = count ? 0 : Math.min(128, this.#starved + 1);
    this.#least = Math.min(this.#least, count);
    const isSixteenth = ++this.#ticks % 16 === 0;
    const takes = count > 4 || (isSixteenth && this.#least > 1) ? 2 : 1;
    if (isSixteenth) {
      this.#least = Infinity;
    }
    return { margin: count || -this.#starved, taken: this.#waiting.splice(0, takes) };
  }
}
