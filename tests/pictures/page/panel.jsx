// A panel's inside: Grafana's own components where its library has them.
import { fieldReducers } from '@grafana/data';
import { BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, BigValueTextMode, TimeSeries } from '@grafana/ui';

import { Heatmap } from './heatmap.jsx';

function Stat({ panel, series, width, height, theme }) {
  const below = panel.options.orientation === 'horizontal';
  const each = Math.floor((below ? height : width) / series.length);
  const { calcs } = panel.options.reduceOptions;
  return (
    <div style={{ display: 'flex', flexDirection: below ? 'column' : 'row' }}>
      {series.map(({ fields: [time, field] }) => {
        const { reduce, id } = fieldReducers.get(calcs[0]);
        const value = reduce ? reduce(field, true, true)[id] : field.values.filter((one) => one !== null).at(-1);
        return (
          <BigValue
            key={field.name}
            value={{ ...field.display(value), title: series.length > 1 ? field.name : undefined }}
            width={below ? width : each}
            height={below ? each : height}
            text={panel.options.text}
            theme={theme}
            colorMode={BigValueColorMode.Value}
            graphMode={panel.options.graphMode === 'none' ? BigValueGraphMode.None : BigValueGraphMode.Area}
            textMode={panel.options.textMode ?? BigValueTextMode.Auto}
            justifyMode={BigValueJustifyMode.Auto}
            sparkline={panel.options.graphMode === 'none' ? undefined : { x: time, y: field }}
          />
        );
      })}
    </div>
  );
}

// One panel, or why there is nothing to draw.
export function Panel({ panel, series: { list, error }, range, theme, width, height }) {
  if (!list.length) {
    return <div style={{ padding: 16, color: theme.colors.text.secondary }}>{error ?? panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  }
  if (panel.type === 'stat') {
    return <Stat panel={panel} series={list} width={width} height={height} theme={theme} />;
  }
  if (panel.type === 'heatmap') {
    return <Heatmap panel={panel} series={list} range={range} theme={theme} width={width} height={height} />;
  }
  if (panel.type !== 'timeseries') {
    throw new Error(`there is no drawing of ${panel.type} panels: add one to page/panel.jsx`);
  }
  const { displayMode, placement, showLegend, calcs } = panel.options.legend;
  return (
    <TimeSeries
      frames={list}
      timeRange={range}
      timeZone="utc"
      width={width}
      height={height}
      legend={{ displayMode, placement, showLegend, calcs }}
      options={{}}
      theme={theme}
    />
  );
}
