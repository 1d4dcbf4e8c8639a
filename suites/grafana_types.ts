// What a shipped dashboard is held against: Grafana's own types, narrowed to what is meant by ours. `suites/grafana` puts
// this beside the unpacked packages and beside `found.ts`, which has what Grafana does not have as types: its units, and
// the version of the dashboard model.

import type { AnnotationQuery, DataTransformerID, FieldMatcherID, ReducerID } from '@grafana/data';
import type { PromQuery, PromVariableQuery } from '@grafana/prometheus';
import type { AnnotationContainer, Dashboard, VariableModel } from '@grafana/schema';
import type { UnitId, SchemaVersion } from './found';
import type { MergeTransformerOptions } from './node_modules/@grafana/data/dist/types/transformations/transformers/merge';
import type { OrganizeFieldsTransformerOptions } from './node_modules/@grafana/data/dist/types/transformations/transformers/organize';
import type * as raw from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';

/** A type as JSON has it: with the values of enums, not the enums. */
type Json<T> = 0 extends 1 & T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer Item> ? Array<Json<Item>>
  : T extends object ? { [Key in keyof T]: Json<T[Key]> }
  : T;

/** Only the properties that have a name: without `[key: string]`, which lets everything through. */
type Named<T> = { [Key in keyof T as string extends Key ? never : number extends Key ? never : Key]: T[Key] };

/** With other types for some properties. */
type With<T, More> = Omit<T, keyof More> & More;

type Unit = UnitId | `${'suffix' | 'prefix' | 'time' | 'si' | 'count' | 'currency'}:${string}`;

/** Every question goes to the data source that is chosen on top. */
type Source = { type: 'prometheus'; uid: '${datasource}' };
type Query = With<PromQuery, { datasource: Source }>;

/** Options whose calculations are those there are; Grafana has them as strings. */
type Calculated<T> = T extends { reduceOptions: infer Reduced } ? With<T, { reduceOptions: With<Reduced, { calcs: ReducerID[] }> }>
  : T extends { legend: infer Legend } ? With<T, { legend: With<Legend, { calcs: ReducerID[] }> }>
  : T;

type Standard = With<Omit<raw.FieldConfig, 'custom'>, { unit?: Unit }>;
type Field<Custom> = Standard & ([Custom] extends [never] ? { custom?: never } : { custom?: Custom });
type Property<T, Prefix extends string> =
  { [Key in keyof T & string]-?: { id: `${Prefix}${Key}`; value: NonNullable<T[Key]> } }[keyof T & string];
type Override<Custom> = {
  matcher: { id: FieldMatcherID; options: string };
  properties: Array<Property<Standard, ''> | ([Custom] extends [never] ? never : Property<Custom, 'custom.'>)>;
};

/** The transformations that are used; another one has to be added with its options. */
type Transformation =
  | { id: DataTransformerID.organize; options: Partial<OrganizeFieldsTransformerOptions> }
  | { id: DataTransformerID.merge; options: MergeTransformerOptions };

/** A panel of a kind, as Grafana of this version saves it: what it would fill in or migrate when it loads it is missing. */
export type PanelOf<Kind extends string, Version extends string, Options, Custom> = Json<With<raw.Panel, {
  type: Kind;
  id: number;
  title: string;
  description: string;
  gridPos: raw.GridPos;
  datasource: Source;
  pluginVersion: Version;
  options: Calculated<Options>;
  fieldConfig: { defaults: Field<Custom>; overrides: Override<Custom>[] };
  targets: Query[];
  transformations?: Transformation[];
}>>;

/** A heading. Those of collapsed rows hold panels; none of ours is. */
export type Row = Json<With<raw.RowPanel, { title: string; gridPos: raw.GridPos; collapsed: false; panels: never[] }>>;

type Variable = With<VariableModel, {
  datasource?: Source;
  query: string | Pick<PromVariableQuery, 'query' | 'refId' | 'qryType'>;
}>;

/** Grafana's Prometheus data source reads the last four too, and says so nowhere in types. */
type Annotation = With<Named<AnnotationQuery<PromQuery>>, {
  datasource: Source;
  target: Query;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
}>;

/** A dashboard without its panels. */
export type Frame = Json<With<Dashboard, {
  uid: string;
  title: string;
  description: string;
  tags: string[];
  schemaVersion: SchemaVersion;
  refresh: string;
  time: { from: string; to: string };
  panels: never[];
  templating: { list: Variable[] };
  annotations: With<AnnotationContainer, { list: Annotation[] }>;
}>>;
