/* What was run, for the charts: window.LANDINGS (every landing, in commit order, with its runs) joined with
 * window.ALL_THE_DATA (parameters and results of every trained run), and how a figure is written.
 *
 * Every text in them comes from a tracked repository. It reaches the page as textContent, or through forPlotly()
 * of plot.js.
 */
"use strict";

window.wer = (function () {
  const hypers = new Map((window.ALL_THE_DATA || []).map((hyper) => [hyper.run, hyper]));

  const trainedOf = ({ state, run }) => (state === "trained" && hypers.get(run)) || null;

  /* What a point of a chart can be: every landing, as a whole, followed by its trained runs where they are not the same
   * as the whole. A run has `part` set, and all else of its landing that is not its own. */
  const runs = (window.LANDINGS || []).flatMap((landing) => {
    const hyper = trainedOf(landing);
    const whole = {
      ...landing, hyper, failed: landing.state !== "trained", part: false, spreads: landing.spreads || {},
      figures: landing.figures || (hyper && hyper.results),
    };
    const parts = (landing.runs || []).filter((run) => trainedOf(run) && !(landing.seeds === 1 && run.run === landing.run));
    return [whole, ...parts.map((run) => {
      const own = trainedOf(run);
      return { ...whole, ...run, hyper: own, part: true, spreads: {}, figures: own.results };
    })];
  }).map((run, index) => ({ ...run, index }));

  const MOST = 1e12; // as in the table: what is above it is no figure

  /** A figure of a run, or the mean of a landing's; null where there is none. */
  function figure(run, name) {
    const value = run.figures ? run.figures[name] : null;
    return typeof value === "number" && value >= 0 && value <= MOST ? value : null;
  }

  /** Every trained run by itself, none of them twice. */
  const trained = runs.filter((run) => run.hyper && (run.part || run.seeds === 1));

  /** A parameter's value as it is compared and drawn: a number, or text; a data set counts by its name. */
  function valueOf(run, name) {
    const value = run.hyper.parameters[name];
    if (typeof value === "number" || typeof value === "string") return value;
    if (value && typeof value === "object" && typeof value.name === "string") return value.name;
    return JSON.stringify(value);
  }

  /** The trained runs that have the parameter `name`. */
  function having(name) {
    return trained.filter((run) => Object.hasOwn(run.hyper.parameters, name));
  }

  /** The names of the parameters that are not the same in all runs. */
  const varied = [...new Set(trained.flatMap((run) => Object.keys(run.hyper.parameters)))]
    .filter((name) => new Set(having(name).map((run) => valueOf(run, name))).size > 1)
    .sort();

  const NO_BREAK = "\u00a0";

  function percent(ratio) {
    return `${(100 * ratio).toFixed(ratio > 0 && ratio < 0.01 ? 2 : 1)}${NO_BREAK}%`;
  }

  /** A standard deviation of rates, in percentage points. */
  function spread(deviation) {
    return `±${NO_BREAK}${(100 * deviation).toFixed(deviation > 0 && deviation < 0.001 ? 2 : 1)}`;
  }

  function energy(kwh) {
    const [number, unit] = kwh >= 0.1 ? [kwh, "kWh"] : [1000 * kwh, "Wh"];
    return `${number.toFixed(number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2)}${NO_BREAK}${unit}`;
  }

  function count(number) {
    return Math.round(number).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  }

  function duration(seconds) {
    if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)}${NO_BREAK}s`;
    const parts = [];
    let left = Math.round(seconds);
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
      const whole = Math.floor(left / size);
      left -= whole * size;
      if (whole || parts.length) parts.push(`${whole}${NO_BREAK}${unit}`);
    }
    return parts.slice(0, 2).join(" ");
  }

  function shorten(text, limit) {
    return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
  }

  /** Go where a run leads: the log of a failed one, else the commit, else its row in the table. */
  function follow(run) {
    if (run.failed && run.log) {
      window.location.assign(run.log);
    } else if (isWeb(run.url)) {
      window.open(run.url, "_blank", "noopener,noreferrer");
    } else {
      window.location.hash = run.anchor;
    }
  }

  function isWeb(url) {
    return /^https?:\/\//.test(url || "");
  }

  return { runs, trained, varied, having, valueOf, figure, percent, spread, energy, count, duration, shorten, follow, isWeb };
})();
