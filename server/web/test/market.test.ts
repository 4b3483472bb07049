import assert from "node:assert/strict";
import { test } from "node:test";
import { Market, opening, symbols } from "../src/live/market.js";

/** Numbers that are the same in each run. */
function seeded(): () => number {
  let state = 12345;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

test("forty symbols open at prices of their own", () => {
  assert.equal(new Set(symbols.map(([symbol]) => symbol)).size, 40);
  const prices = Object.values(opening());
  assert.ok(
    prices.every((price) => price >= 20 && price < 520),
    String(prices),
  );
});

test("a step moves some prices, a little", () => {
  const market = new Market(seeded());
  let moves = 0;
  for (let step = 0; step < 200; step++) {
    const before = { ...market.prices };
    for (const [symbol, price] of Object.entries(market.step())) {
      moves += 1;
      const share = price / (before[symbol] as number);
      assert.ok(share > 0.99 && share < 1.01 && share !== 1, `${symbol} by ${share}`);
      assert.equal(market.prices[symbol], price);
      assert.equal(price, Math.round(price * 100) / 100, "whole cents");
    }
  }
  assert.ok(moves > 200 * 40 * 0.2 && moves < 200 * 40 * 0.4, `${moves} moves`);
});

test("prices stay near where they opened for as long as anybody looks", () => {
  const market = new Market(seeded());
  for (let step = 0; step < 50_000; step++) {
    market.step();
  }
  for (const [symbol] of symbols) {
    assert.ok(Math.abs(market.change(symbol)) < 60, `${symbol} by ${market.change(symbol)} %`);
  }
});

test("the next host goes on from the prices it saw", () => {
  const [first, second] = [new Market(seeded()), new Market(seeded())];
  for (let step = 0; step < 500; step++) {
    second.adopt(JSON.parse(JSON.stringify(first.step())));
  }
  assert.deepEqual(second.prices, first.prices);
});

test("what is no price of this market is passed over", () => {
  const market = new Market();
  const before = { ...market.prices };
  for (const quotes of [
    undefined,
    "LOOM",
    { NONE: 5 },
    { LOOM: "12" },
    { LOOM: -1 },
    { LOOM: 1e12 },
    { __proto__: { LOOM: 3 } },
  ]) {
    assert.deepEqual(market.adopt(quotes), {}, JSON.stringify(quotes));
  }
  assert.deepEqual(market.prices, before);
  assert.deepEqual(market.adopt({ LOOM: 33.5, NONE: 1 }), { LOOM: 33.5 });
});
