/* What was run, for the charts: window.LANDINGS (every run, in commit order) joined with window.ALL_THE_DATA
 * (parameters and results of the trained ones), and how a figure is written.
 *
 * Every text in them comes from a tracked repository. It reaches the page as textContent, or through forPlotly()
 * of plot.js.
 */
"use strict";

window.wer = (function () {
  const hypers = new Map((window.ALL_THE_DATA || []).map((hyper) => [hyper.run, hyper]));

  const runs = (window.LANDINGS || []).map((landing, index) => {
    const hyper = landing.state === "trained" ? hypers.get(landing.run) : undefined;
    return { ...landing, index, failed: landing.state !== "trained", hyper: hyper || null };
  });

  const MOST = 1e12; // as in the table: what is above it is no figure

  /** A figure of a run's results, or null where it gave none. */
  function figure(run, name) {
    const value = run.hyper ? run.hyper.results[name] : null;
    return typeof value === "number" && value >= 0 && value <= MOST ? value : null;
  }

  const trained = runs.filter((run) => run.hyper);

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

  return { runs, trained, varied, having, valueOf, figure, percent, count, duration, shorten, follow, isWeb };
})();
