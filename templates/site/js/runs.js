/* What was run, for the charts: window.LANDINGS (every run, in commit order) joined with window.ALL_THE_DATA
 * (parameters and results of the trained ones), and how a figure is written.
 *
 * Every text in them comes from a tracked repository. It reaches the page as textContent, or through forPlotly().
 */
"use strict";

window.wer = (function () {
  const trained = new Map((window.ALL_THE_DATA || []).map((hyper) => [hyper.run, hyper]));

  const runs = (window.LANDINGS || []).map((landing, index) => {
    const hyper = landing.state === "trained" ? trained.get(landing.run) : undefined;
    return { ...landing, index, failed: landing.state !== "trained", hyper: hyper || null };
  });

  /** A figure of a run's results, or null where it gave none. */
  function figure(run, name) {
    const value = run.hyper ? run.hyper.results[name] : null;
    return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
  }

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

  /** Text for a label that plotly draws: plotly reads tags and entities in it, so there must be none. */
  function forPlotly(text, limit) {
    return shorten(String(text), limit).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  /** The colours of the page's scheme, as the style sheet has them now. */
  function colours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["ink", "quiet", "panel", "line", "grid", "accent", "test", "validation", "train", "failed"];
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  /** What both charts have in common, in plotly's terms; `canvas` is the element that is drawn in. */
  function layout(palette, canvas) {
    const axis = { zeroline: false, gridcolor: palette.grid, linecolor: palette.line, tickcolor: palette.line };
    return {
      width: canvas.clientWidth,
      height: canvas.clientHeight,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: palette.quiet },
      margin: { l: 48, r: 30, t: 14, b: 30 },
      showlegend: false,
      dragmode: touch ? false : "zoom", // on a phone a drag over the chart scrolls the page
      hovermode: "closest",
      hoverdistance: 30,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: palette.quiet, activecolor: palette.accent },
      xaxis: { ...axis, showgrid: false, ticks: "outside", ticklen: 4 },
      yaxis: { ...axis, tickformat: "~%", nticks: 7, rangemode: "tozero" },
    };
  }

  const touch = window.matchMedia("(pointer: coarse)").matches;

  const config = {
    displaylogo: false,
    displayModeBar: touch ? false : "hover",
    doubleClick: false,
    // Named one by one: what plotly offers by itself has a button that sends the chart to a server of its makers.
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d"]],
    showSendToCloud: false,
    plotlyServerURL: "",
    toImageButtonOptions: { filename: "word-error-rate", scale: 2 },
  };

  /** The top of an axis that starts at 0 and shows rates up to `highest` with room above them. */
  function ceiling(highest) {
    return Math.max(1.1 * highest, 0.01);
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

  return {
    runs, figure, percent, count, duration, shorten, forPlotly, colours, layout, config, ceiling, follow, isWeb,
  };
})();
