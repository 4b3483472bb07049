/** The panel's looks, for `adoptedStyleSheets`: a page's Content-Security-Policy allows those. */
export const style = `
:host {
  all: initial;
  position: fixed;
  inset: auto 12px 12px auto;
  z-index: 2147483647;
  max-width: calc(100vw - 24px);
  color-scheme: light dark;
  --ink: light-dark(#1a1d21, #e8eaed);
  --faint: light-dark(#5b6470, #9aa3ad);
  --line: light-dark(#d5dae0, #3a4048);
  --accent: light-dark(#0b62c4, #6db3ff);
}
section {
  box-sizing: border-box;
  width: 300px;
  max-width: 100%;
  max-height: min(70vh, 560px);
  overflow: auto;
  padding: 8px 10px;
  border: 1px solid var(--line);
  border-radius: 8px;
  background: light-dark(#fffffff2, #16191df2);
  color: var(--ink);
  font: 12px/1.45 ui-monospace, SFMono-Regular, Menlo, monospace;
}
header { display: flex; gap: 8px; align-items: center; justify-content: space-between; }
h2 { margin: 0; font: inherit; font-weight: 700; }
[hidden] { display: none !important; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 10px; margin: 6px 0; }
dt { color: var(--faint); }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: 28px; margin: 2px 0 6px; }
polyline { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
label { display: grid; grid-template-columns: 64px 1fr 64px; gap: 8px; align-items: center; }
input { min-width: 0; accent-color: var(--accent); }
output { text-align: right; }
button {
  padding: 2px 8px;
  border: 1px solid var(--line);
  border-radius: 5px;
  background: none;
  color: inherit;
  font: inherit;
  cursor: pointer;
}
:is(button, input, summary):focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.buttons { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0; }
summary { cursor: pointer; }
pre { margin: 0 0 6px; max-height: 160px; overflow: auto; font: inherit; white-space: pre; }
`;
