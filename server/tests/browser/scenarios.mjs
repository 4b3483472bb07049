// What is played, in this order. A scenario has a name, `run`, and `browsers` when it is not for
// all of them; what `run` returns is printed.
import { clientScenarios } from "./client_scenarios.mjs";

export const scenarios = [...clientScenarios];
