/** How a field is drawn and compared; a `FieldDesc` is one (SPEC.md section 5). */
export interface DrawnField {
  readonly name: string;
  /** An index of `fieldType`. */
  readonly type: number;
  readonly min: number;
  readonly max: number;
  /** An index of `interpolation`. */
  readonly interpolation: number;
}

/** Values of {@link DrawnField.interpolation}. */
export const STEP = 0;
export const LINEAR = 1;
export const ANGLE = 2;

/** The short way round where a field turns, from one value to another that is `way` further. */
export const shortWay = ({ min, max, interpolation }: DrawnField, way: number): number =>
  interpolation === ANGLE ? way - (max - min) * Math.round(way / (max - min)) : way;

/** The same direction within the range of a field that turns. */
export const withinTurn = ({ min, max, interpolation }: DrawnField, value: number): number =>
  interpolation === ANGLE ? value - (max - min) * Math.floor((value - min) / (max - min)) : value;

/** The fields of a packed component. Throws a RangeError when a room has no such component. */
export function fieldsOf(
  schema: { component(name: string): { fields: readonly DrawnField[] } | undefined },
  component: string,
): readonly DrawnField[] {
  const fields = schema.component(component)?.fields;
  if (!fields?.length) {
    throw new RangeError(`the room has no rows "${component}"`);
  }
  return fields;
}
