// What is played, in this order. A scenario has a name, `run`, and `browsers` when it is not for
// all of them; what `run` returns is printed.
import { clientScenarios } from "./client_scenarios.mjs";
import { loadScenarios } from "./load_scenarios.mjs";
import { lookScenarios } from "./look_scenarios.mjs";
import { pageScenarios } from "./page_scenarios.mjs";

export const scenarios = [
  ...clientScenarios,
  ...pageScenarios,
  ...lookScenarios,
  ...loadScenarios,
];
