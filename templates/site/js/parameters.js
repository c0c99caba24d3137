/* Test WER against one parameter, for the parameters that varied between runs. */
"use strict";

window.wer.parameterChart = function (place, select, note) {
  const { trained, varied: names, having, valueOf, figure, percent, shorten } = window.wer;
  const { forPlotly, colours, layout, config, ceiling, onDoubleClick } = window.wer;
  const TWO_DECADES = 100;

  const choice = select.closest("label");
  if (!names.length) {
    choice.hidden = place.hidden = true;
    note.textContent = trained.length < 2
      ? "There is nothing to compare before two runs have been trained."
      : `No parameter varied between the ${trained.length} trained runs.`;
    return { draw() {} };
  }
  names.forEach((name, index) => select.add(new Option(shorten(name, 60), String(index))));
  const latest = [...trained].reverse().flatMap((run) => run.changes.map(([name]) => names.indexOf(name)));
  select.value = String(Math.max(0, latest.find((index) => index >= 0) ?? 0));

  const canvas = document.createElement("div");
  canvas.className = "canvas";
  place.append(canvas);
  const card = window.wer.card(place);

  /** The x axis for `values`, and where each of them lies on it. */
  function axis(values) {
    const distinct = [...new Set(values)];
    if (values.every((value) => typeof value === "number")) {
      distinct.sort((one, other) => one - other);
      const [low, high] = [distinct[0], distinct[distinct.length - 1]];
      const log = low > 0 && high / low > TWO_DECADES;
      const at = log ? Math.log10 : (value) => value;
      const span = at(high) - at(low);
      const pixels = (canvas.clientWidth - 78) / (1.12 * span);
      const apart = distinct.slice(1).every((value, index) => (at(value) - at(distinct[index])) * pixels > 60);
      return {
        x: values,
        axis: {
          type: log ? "log" : "linear",
          range: [at(low) - 0.06 * span, at(high) + 0.06 * span],
          exponentformat: "e",
          ...(log ? { dtick: 1 } : {}),
          ...(apart ? { tickvals: distinct, ticktext: distinct.map((value) => String(value)) } : {}),
        },
      };
    }
    distinct.sort((one, other) => String(one).localeCompare(String(other)));
    const slots = new Map(distinct.map((value, slot) => [value, slot]));
    const room = Math.max(1, Math.floor((canvas.clientWidth - 78) / 90));
    const step = Math.ceil(distinct.length / room);
    const labelled = distinct.filter((_, slot) => slot % step === 0);
    return {
      x: values.map((value) => slots.get(value)),
      axis: {
        type: "linear",
        range: [-0.5, distinct.length - 0.5],
        tickvals: labelled.map((value) => slots.get(value)),
        ticktext: labelled.map((value) => forPlotly(value, 14)),
      },
    };
  }

  function draw() {
    const name = names[Number(select.value)];
    const drawn = having(name);
    const palette = colours();
    const base = layout(palette, canvas);
    const { x, axis: xaxis } = axis(drawn.map((run) => valueOf(run, name)));
    const rates = drawn.map((run) => figure(run, "test_wer"));
    window.Plotly.react(canvas, [{
      type: "scatter", mode: "markers", hoverinfo: "none", name: "Test", x, y: rates,
      customdata: drawn.map((run) => run.index),
      marker: { color: palette.test, size: 9, opacity: 0.8, line: { color: palette.panel, width: 1 } },
    }], {
      ...base,
      margin: { ...base.margin, b: 56 },
      xaxis: { ...base.xaxis, ...xaxis, tickangle: 0, title: { text: forPlotly(name, 60), standoff: 12 } },
      yaxis: { ...base.yaxis, range: [0, ceiling(Math.max(0, ...rates))] },
    }, config);
    const absent = trained.length - drawn.length;
    note.textContent = `Test WER from ${percent(Math.min(...rates))} to ${percent(Math.max(...rates))} in ${drawn.length} runs`
      + `${absent ? `; ${absent} without this parameter are left out` : ""}. `
      + "Other parameters and the code may have changed with it.";
  }

  draw();
  select.addEventListener("change", () => {
    card.hide();
    draw();
  });
  card.follows(canvas);
  onDoubleClick(canvas, draw);
  return { draw };
};
