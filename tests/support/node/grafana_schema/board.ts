// What a dashboard of ours may hold: Grafana's own types, as JSON writes them.
import type * as schema from '@grafana/schema';
import type * as v2 from '@grafana/schema/apis/dashboard.grafana.app/v2';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Members of string enums are strings in JSON.
type Json<T> = T extends string ? `${T}` : T extends object ? { [Key in keyof T]: Json<T[Key]> } : T;

// The query type of the data source is in no package; these are its fields.
type Query = Json<schema.DataQuery> & {
  expr: string;
  legendFormat: string;
  editorMode: 'code' | 'builder';
  exemplar: boolean;
  instant: boolean;
  range: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
};

type Of<Type extends string, Options, Custom> = Omit<Json<schema.Panel>, 'type' | 'targets' | 'options' | 'fieldConfig'> & {
  type: Type;
  targets: Query[];
  options: Json<Options>;
  fieldConfig: {
    defaults: Omit<Json<schema.FieldConfig>, 'custom'> & { custom?: Json<Custom> };
    overrides: Json<schema.FieldConfigSource['overrides']>;
  };
};

type Panel =
  | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Of<'stat', stat.Options, Record<string, never>>
  | Of<'heatmap', heatmap.Options, heatmap.FieldConfig>;

// Grafana's editor keeps the text of a variable's query here too; the schema lacks it.
type Variable = Json<schema.VariableModel> & { definition?: string };

// The data source's own fields of an annotation, which the schema lacks as those of a query.
type Annotation = Omit<Json<schema.AnnotationQuery>, 'target'> & {
  target: Omit<Query, 'editorMode' | 'exemplar' | 'instant'>;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
};

export type Board = Omit<Json<schema.Dashboard>, 'annotations' | 'panels' | 'templating'> & {
  annotations: { list: Annotation[] };
  panels: (Panel | Json<schema.RowPanel>)[];
  templating: { list: Variable[] };
};

// In v2 the fields of queries and the options of panels have no types: a test compares them with v1.
export type BoardV2 = {
  apiVersion: 'dashboard.grafana.app/v2';
  kind: 'Dashboard';
  metadata: { name: string };
  spec: v2.Spec;
};
