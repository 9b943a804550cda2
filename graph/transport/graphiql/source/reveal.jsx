import { useGraphiQL } from '@graphiql/react';
import { useEffect } from 'react';

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
    const first = operation.loc.startToken.line;
    const cursor = editor.getPosition()?.lineNumber ?? 0;
    if (cursor >= first && cursor <= operation.loc.endToken.line) return;
    editor.setPosition({ lineNumber: first, column: 1 });
    // The comment above it, too; at most four lines.
    editor.revealLineNearTop(Math.max(first - 4, 1));
  }, [isRunning]); // once for each run, not for each edit
  const tab = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.id);
  useEffect(() => editor?.setScrollTop(0), [editor, tab]);
  return null;
}
