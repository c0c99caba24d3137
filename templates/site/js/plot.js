/* What the charts have in common, in plotly's terms: colours, axes, labels, settings. */
"use strict";

Object.assign(window.wer, (function () {
  /** Text for a label that plotly draws: plotly reads tags and entities in it, so there must be none. */
  function forPlotly(text, limit) {
    return window.wer.shorten(String(text), limit).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
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

  /** Act on a double click anywhere in a chart but on its buttons. */
  function onDoubleClick(canvas, act) {
    canvas.addEventListener("dblclick", (event) => {
      if (!event.target.closest(".modebar")) act();
    });
  }

  return { forPlotly, colours, layout, config, ceiling, onDoubleClick };
})());
