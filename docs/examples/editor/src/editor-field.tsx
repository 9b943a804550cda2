// Step 2: CodeMirror 6 with the completions of the server.

import { autocompletion, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete';
import { PostgreSQL, sql } from '@codemirror/lang-sql';
import { basicSetup, EditorView } from 'codemirror';
import { useEffect, useRef } from 'react';
import { type Client, useClient } from 'urql';
import { graphql } from './gql';

const Complete = graphql(`query Complete($id: ID!, $text: String!, $cursor: Int!) {
  connection(id: $id) {
    completions(text: $text, cursor: $cursor) { kind label insertText detail replaceStart replaceEnd }
  }
}`);

// JavaScript counts UTF-16 code units, the server Unicode characters: an emoji is 2 and 1.
const toCharacters = (text: string, offset: number) => [...text.slice(0, offset)].length;
const toOffset = (text: string, characters: number) => [...text].slice(0, characters).join('').length;

/** A source of completions for CodeMirror. */
function completionsOf(client: Client, id: string) {
  return async ({ state, pos }: CompletionContext): Promise<CompletionResult | null> => {
    const text = state.doc.toString();
    const { data } = await client.query(Complete, { id, text, cursor: toCharacters(text, pos) }).toPromise();
    const completions = data?.connection?.completions ?? [];
    const [first] = completions;
    if (!first) return null;
    return {
      from: toOffset(text, first.replaceStart),
      to: toOffset(text, first.replaceEnd),
      filter: false, // the server has matched and sorted them
      options: completions.map(({ kind, label, insertText, detail }) => ({
        label,
        apply: insertText,
        detail: detail ?? '',
        type: kind.toLowerCase(),
      })),
    };
  };
}

type EditorFieldProps = { connectionId: string; text: string; setText: (text: string) => void };

export function EditorField({ connectionId, text, setText }: EditorFieldProps) {
  const client = useClient();
  const parent = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  useEffect(() => {
    view.current = new EditorView({
      parent: parent.current!,
      extensions: [
        basicSetup,
        sql({ dialect: PostgreSQL }).language, // only its colours: its own completion knows no tables
        autocompletion({ override: [completionsOf(client, connectionId)] }),
        EditorView.contentAttributes.of({ 'aria-label': 'SQL' }),
        EditorView.updateListener.of((update) => update.docChanged && setText(update.state.doc.toString())),
      ],
    });
    return () => view.current?.destroy();
  }, [client, connectionId, setText]);
  useEffect(() => {
    const doc = view.current!.state.doc;
    if (doc.toString() !== text) view.current!.dispatch({ changes: { from: 0, to: doc.length, insert: text } });
  }, [text]);
  return <div ref={parent} className="statement" />;
}
