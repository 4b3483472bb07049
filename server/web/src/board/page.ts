import { openLine } from "../frame/line.js";

openLine();
