/**
 * The web console: just another client of the API (design section 6). It can do nothing that a program could
 * not do with the same calls; it only answers faster who has the seats, whether the pool is healthy and when
 * something runs out.
 *
 *   live/   calls, streams, what is known now
 *   model/  pure: sentences, use over time, deeds, differences of licenses
 *   ui/     pages
 */
import { render } from "preact";
import { Live } from "./live/live.ts";
import { PoolCalls } from "./live/pool-calls.ts";
import { App } from "./ui/app.tsx";
import "uplot/dist/uPlot.min.css";
import "./styles.css";

const live = new Live(new PoolCalls(location.origin));
live.start();
const loginRefused = new URLSearchParams(location.search).get("login-refused");
// It happened once: a reload must not tell it again.
if (loginRefused !== null) history.replaceState(null, "", location.pathname + location.hash);
const root = document.getElementById("console");
if (root !== null) render(<App live={live} loginRefused={loginRefused} />, root);
