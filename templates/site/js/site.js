/* The page's parts put together: charts, legend, range, and a new drawing when the colours or the width change. */
"use strict";

(function () {
  const byId = (id) => document.getElementById(id);
  const chart = window.wer.landingsChart(byId("chart"));
  byId("parameters").hidden = false; // before it is drawn, since what is hidden has no width
  const parameters = window.wer.parameterChart(byId("parameter-chart"), byId("parameter"), byId("parameter-text"));

  function legend(fieldset) {
    for (const series of chart.series) {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: series.key });
      box.addEventListener("change", () => chart.toggle(series.key, box.checked));
      label.append(box, swatch(series), series.name);
      fieldset.append(label);
    }
    fieldset.hidden = chart.series.length === 0;
  }

  /** A little picture of a series' line and point. */
  function swatch({ colour, dash, symbol }) {
    const SVG = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", "0 0 26 12");
    picture.setAttribute("aria-hidden", "true");
    const draw = (path, style) => {
      const element = document.createElementNS(SVG, "path");
      element.setAttribute("d", path);
      Object.assign(element.style, style);
      picture.append(element);
    };
    const stroke = `var(--${colour})`;
    const dashes = { dash: "6 4", dot: "2 3" }[dash] || "none";
    if (dash) draw("M0 6H26", { stroke, strokeWidth: "2px", strokeDasharray: dashes });
    const points = {
      circle: "M9 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", square: "M9.5 2.5h7v7h-7z", diamond: "M13 1.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
      x: "M9 2l8 8M17 2l-8 8",
    };
    draw(points[symbol], symbol === "x" ? { stroke, strokeWidth: "2.5px" } : { fill: stroke });
    return picture;
  }

  function range(fieldset) {
    const buttons = [...fieldset.querySelectorAll("button")];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const [first, last] = chart.range;
        const { last: wanted, move } = button.dataset;
        const step = Math.max(1, Math.floor(0.8 * (last - first + 1))) * Number(move);
        if (move) chart.show(first + step, last + step);
        else chart.show(wanted === "all" ? 0 : chart.slots - Number(wanted), chart.slots - 1);
      });
    }
    chart.onDraw(() => {
      const [first, last] = chart.range;
      const atEnd = last >= chart.slots - 1;
      for (const button of buttons) {
        const { last: wanted, move } = button.dataset;
        if (move) {
          button.disabled = Number(move) < 0 ? first <= 0 : atEnd;
        } else {
          const from = wanted === "all" ? 0 : chart.slots - Number(wanted);
          button.disabled = from < 0 || (from === 0 && wanted !== "all");
          button.setAttribute("aria-pressed", String(atEnd && first === from));
        }
      }
    });
    fieldset.hidden = chart.slots < 2;
  }

  function drawAll() {
    chart.card.hide();
    chart.draw();
    parameters.draw();
  }

  legend(byId("legend"));
  range(byId("range"));

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = document.body.clientWidth;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    drawAll();
  }).observe(document.body);

  // Paper is light whatever the screen is.
  function printing(on) {
    document.documentElement.classList.toggle("printing", on);
    drawAll();
  }
  window.addEventListener("beforeprint", () => printing(true));
  window.addEventListener("afterprint", () => printing(false));
})();
