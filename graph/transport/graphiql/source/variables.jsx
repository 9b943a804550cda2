// An answer fills variables of its tab: a field whose alias is the name of a variable, such as
// `taskId: id`, gives the variable its value. So each operation of an example continues the last.

import { useGraphiQL } from '@graphiql/react';
import { useEffect } from 'react';
import { visit } from 'graphql';

/** Applies `fill` to the variables editor whenever `answers` has a new one. */
export function FilledVariables({ answers }) {
  const editor = useGraphiQL((state) => state.variableEditor);
  useEffect(() => {
    if (!editor) return undefined;
    return answers.subscribe((data, document) => {
      const text = editor.getValue();
      const filled = fill(text, aliases(document), data);
      if (filled !== text) editor.setValue(filled);
    });
  }, [editor, answers]);
  return null;
}

/** Tells its one listener of each answer with data. */
export class Answers {
  #listener;

  subscribe(listener) {
    this.#listener = listener;
    return () => (this.#listener = undefined);
  }

  tell = (data, document) => this.#listener?.(data, document);
}

function aliases(document) {
  const names = new Set();
  visit(document, { Field: ({ alias }) => alias && void names.add(alias.value) });
  return names;
}

/** A value that the answer still contains stays, so that a choice survives a repeated query. */
function fill(text, names, data) {
  return [...names].reduce((filled, name) => {
    const values = valuesOf(name, data);
    if (!values.length) return filled;
    return filled.replace(new RegExp(`("${name}"\\s*:\\s*)("[^"]*")`), (whole, key, value) =>
      values.includes(JSON.parse(value)) ? whole : key + JSON.stringify(values[0]),
    );
  }, text);
}

function valuesOf(name, data) {
  if (data === null || typeof data !== 'object') return [];
  const own = typeof data[name] === 'string' ? [data[name]] : [];
  return own.concat(...Object.values(data).map((value) => valuesOf(name, value)));
}
