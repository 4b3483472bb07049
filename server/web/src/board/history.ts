// What this visitor drew and erased, to undo and to do again. Others' strokes are not in it.

/** A stroke of one's own: its bytes, and the entity it is now, if it is on the board. */
export interface Item {
  bytes: Uint8Array;
  entity: number | undefined;
}

/** One thing that was done: a line, which may be several strokes, or a sweep of the eraser. */
export interface Deed {
  kind: "draw" | "erase";
  items: Item[];
}

/** What history asks of the board. */
export interface Hand {
  /** Puts strokes on the board; they get new entities. */
  put(items: Item[]): Promise<void>;
  take(items: Item[]): Promise<void>;
}

const DEEDS_MAX = 200;

export class History {
  readonly #hand: Hand;
  readonly #done: Deed[] = [];
  #undone: Deed[] = [];
  #isBusy = false;

  constructor(hand: Hand) {
    this.#hand = hand;
  }

  get canUndo(): boolean {
    return this.#done.length > 0 && !this.#isBusy;
  }

  get canRedo(): boolean {
    return this.#undone.length > 0 && !this.#isBusy;
  }

  /** Something was done: what was undone before cannot be done again. */
  add(deed: Deed): void {
    this.#done.push(deed);
    this.#undone = [];
    if (this.#done.length > DEEDS_MAX) {
      this.#done.shift();
    }
  }

  undo(): Promise<void> {
    return this.#move(this.#done, () => this.#undone, "erase");
  }

  redo(): Promise<void> {
    return this.#move(this.#undone, () => this.#done, "draw");
  }

  /** Moves the last deed over, once the board has taken it. `puts` is the kind that puts back. */
  async #move(from: Deed[], to: () => Deed[], puts: Deed["kind"]): Promise<void> {
    const deed = from.at(-1);
    if (!deed || this.#isBusy) {
      return;
    }
    this.#isBusy = true;
    try {
      await (deed.kind === puts ? this.#hand.put(deed.items) : this.#hand.take(deed.items));
    } finally {
      this.#isBusy = false;
      // A deed that the board refuses is no deed to try for ever.
      const at = from.indexOf(deed);
      if (at >= 0) {
        from.splice(at, 1);
      }
    }
    to().push(deed);
  }
}
