// Grafana's library has no heatmap: cells by uPlot, which Grafana's panel is made of too.
import { useEffect, useRef } from 'react';
import { getValueFormat } from '@grafana/data';
import uPlot from 'uplot';

// The darker half of Oranges, as the panel's scheme.
const SCHEME = { dark: [[57, 26, 4], [253, 174, 107]], light: [[254, 237, 222], [166, 54, 3]] };

// Cumulative buckets made single, lowest bound first.
function buckets(series) {
  const ordered = series
    .map(({ fields: [time, field] }) => ({ bound: Number(String(field.labels.le).replace('+Inf', 'Infinity')), time, field }))
    .sort((one, other) => one.bound - other.bound);
  return ordered.map(({ bound, time, field }, index) => ({
    bound,
    times: time.values,
    counts: field.values.map((value, at) => Math.max(0, (value ?? 0) - (index ? (ordered[index - 1].field.values[at] ?? 0) : 0))),
  }));
}

function colour(share, mode) {
  const [low, high] = SCHEME[mode];
  return `rgb(${low.map((from, channel) => Math.round(from + (high[channel] - from) * share)).join()})`;
}

export function Heatmap({ panel, series, range, theme, width, height }) {
  const place = useRef(null);
  useEffect(() => {
    const rows = buckets(series);
    const used = rows.map(({ counts }, index) => [counts.some((count) => count > 0), index]).filter(([any]) => any);
    const [first, last] = used.length ? [used[0][1], used.at(-1)[1]] : [0, rows.length - 1];
    const shown = rows.slice(first, last + 1);
    const most = Math.max(...shown.flatMap(({ counts }) => counts), Number.MIN_VALUE);
    const format = getValueFormat(panel.options.yAxis.unit);
    const label = (bound) => {
      const { text, suffix = '' } = format(bound);
      return Number.isFinite(bound) ? `${text}${suffix}` : '+Inf';
    };
    const times = shown[0].times;
    const step = times[1] - times[0];
    const draw = (plot) => {
      shown.forEach(({ counts }, row) => {
        counts.forEach((count, at) => {
          if (count <= panel.options.filterValues.le) {
            return;
          }
          const left = plot.valToPos(times[at] / 1000, 'x', true);
          const top = plot.valToPos(row + 1, 'y', true);
          plot.ctx.fillStyle = colour((count / most) ** panel.options.color.exponent, theme.isDark ? 'dark' : 'light');
          plot.ctx.fillRect(
            left,
            top,
            Math.max(1, plot.valToPos((times[at] + step) / 1000, 'x', true) - left - panel.options.cellGap),
            plot.valToPos(row, 'y', true) - top - panel.options.cellGap
          );
        });
      });
    };
    const axis = { stroke: theme.colors.text.primary, font: `12px ${theme.typography.fontFamily}`, grid: { show: false } };
    const every = Math.ceil(shown.length / 8);
    const plot = new uPlot(
      {
        width,
        height,
        tzDate: (at) => uPlot.tzDate(new Date(at * 1000), 'Etc/UTC'),
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { range: [range.from.valueOf() / 1000, range.to.valueOf() / 1000] }, y: { range: [0, shown.length] } },
        axes: [
          { ...axis, values: (_, at) => at.map((one) => new Date(one * 1000).toISOString().slice(11, 16)) },
          {
            ...axis,
            size: 64,
            splits: () => shown.map((_, row) => row + 1).filter((row) => row % every === 0),
            values: (_, splits) => splits.map((row) => label(shown[row - 1].bound)),
          },
        ],
        series: [{}, { show: false }],
        hooks: { draw: [draw] },
      },
      [times.map((at) => at / 1000), times.map(() => null)],
      place.current
    );
    return () => plot.destroy();
  });
  return <div ref={place} />;
}
