// A market that nobody trades on: forty prices that wander. The room's host keeps it going, and
// whoever is the host next goes on from the prices it saw last.

/** Symbol and what it is. */
export const symbols: readonly (readonly [string, string])[] = [
  ["LOOM", "Loom Works"],
  ["WEFT", "Weft & Sons"],
  ["WARP", "Warp Freight"],
  ["SHTL", "Shuttle Lines"],
  ["HDDL", "Heddle Steel"],
  ["BOBN", "Bobbin Foods"],
  ["TRDL", "Treadle Cycles"],
  ["SLVG", "Selvage Salvage"],
  ["TWLL", "Twill Textiles"],
  ["SATN", "Satin Glass"],
  ["DNIM", "Denim Mines"],
  ["FELT", "Felt Audio"],
  ["KNIT", "Knit Networks"],
  ["PURL", "Purl Press"],
  ["SPIN", "Spindle Power"],
  ["CARD", "Carder Cloud"],
  ["DYER", "Dyer Chemicals"],
  ["INDG", "Indigo Air"],
  ["MDDR", "Madder Media"],
  ["WELD", "Weld Tools"],
  ["FLAX", "Flax Farms"],
  ["HEMP", "Hemp Rope"],
  ["JUTE", "Jute Trade"],
  ["SILK", "Silk Road Rail"],
  ["WOOL", "Woolsack Bank"],
  ["LINN", "Linen Hotels"],
  ["TULL", "Tulle Motors"],
  ["LACE", "Lace Health"],
  ["HEMM", "Hem Insurance"],
  ["SEAM", "Seam Software"],
  ["PLIT", "Pleat Energy"],
  ["GUSS", "Gusset Games"],
  ["DART", "Dart Delivery"],
  ["YOKE", "Yoke Dairy"],
  ["BIAS", "Bias Research"],
  ["GRAN", "Grain Ledger"],
  ["NEDL", "Needle Bio"],
  ["THRD", "Thread Telecom"],
  ["BTTN", "Button Bakery"],
  ["ZIPP", "Zip Ferries"],
];

/** Prices by symbol. */
export type Quotes = Record<string, number>;

/** Of all prices, the share that changes in one step. */
const CHANGING = 0.3;
/** How far a price goes in one step, as a share of itself. */
const STRIDE = 0.004;
/** A price is pulled back towards where it opened by this share of the way. */
const PULL = 0.002;
const PRICE_MIN = 1;

/** Where every price starts: the same for every page. */
export function opening(): Quotes {
  return Object.fromEntries(
    symbols.map(([symbol], at) => [symbol, round(20 + ((at * 137) % 480) + at / 4)]),
  );
}

export class Market {
  readonly prices: Quotes = opening();
  readonly #opening = opening();
  readonly #random: () => number;

  /** `random` gives numbers from 0 to below 1. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Takes over what another host said; what is no price of this market is passed over. */
  adopt(quotes: unknown): Quotes {
    const taken: Quotes = {};
    for (const [symbol, price] of Object.entries((quotes ?? {}) as Quotes)) {
      if (symbol in this.#opening && typeof price === "number" && price > 0 && price < 1e9) {
        this.prices[symbol] = taken[symbol] = price;
      }
    }
    return taken;
  }

  /** Lets some prices move; returns those. */
  step(): Quotes {
    const moved: Quotes = {};
    for (const [symbol] of symbols) {
      if (this.#random() >= CHANGING) {
        continue;
      }
      const before = this.prices[symbol] as number;
      const pull = ((this.#opening[symbol] as number) - before) * PULL;
      const stride = before * STRIDE * (this.#random() + this.#random() - 1);
      const price = Math.max(round(before + stride + pull), PRICE_MIN);
      if (price !== before) {
        this.prices[symbol] = moved[symbol] = price;
      }
    }
    return moved;
  }

  /** How far a price is from where it opened, in percent. */
  change(symbol: string): number {
    const opened = this.#opening[symbol] as number;
    return (((this.prices[symbol] as number) - opened) / opened) * 100;
  }
}

function round(price: number): number {
  return Math.round(price * 100) / 100;
}
