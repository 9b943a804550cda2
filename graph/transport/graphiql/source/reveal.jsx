import { useGraphiQL } from '@graphiql/react';
import { useEffect, useRef } from 'react';

/**
 * Brings an operation that was chosen at the run button into view, and the cursor into it, so that
 * Ctrl-Enter runs it again. Shows another tab from its start: GraphiQL keeps the scrolled height.
 */
export function RevealedOperation() {
  const editor = useGraphiQL((state) => state.queryEditor);
  const isRunning = useGraphiQL((state) => state.isFetching);
  const operation = useGraphiQL((state) =>
    state.operations?.find(({ name }) => name?.value === state.operationName),
  );
  useEffect(() => {
    if (!isRunning || !editor || !operation?.loc) return;
    reveal(editor, operation.loc);
  }, [isRunning]); // once for each run, not for each edit
  const tab = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.id);
  useEffect(() => editor?.setScrollTop(0), [editor, tab]);
  return null;
}

/** Does so at the start with the operation of this name, to which the address of the page points. */
export function LinkedOperation({ name }) {
  const editor = useGraphiQL((state) => state.queryEditor);
  const operation = useGraphiQL((state) =>
    state.operations?.find((one) => name && one.name?.value === name),
  );
  const isDone = useRef(false);
  useEffect(() => {
    if (isDone.current || !editor || !operation?.loc) return;
    isDone.current = true;
    reveal(editor, operation.loc);
  }, [editor, operation]);
  return null;
}

function reveal(editor, { startToken, endToken }) {
  const first = startToken.line;
  const cursor = editor.getPosition()?.lineNumber ?? 0;
  if (cursor >= first && cursor <= endToken.line) return;
  editor.setPosition({ lineNumber: first, column: 1 });
  // The comment above it, too; at most four lines.
  editor.revealLineNearTop(Math.max(first - 4, 1));
}
