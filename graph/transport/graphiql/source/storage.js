// Where GraphiQL keeps its tabs and history: localStorage, which outlives the browser. A header is
// most often a token, so the history keeps headers only for those who chose so in the settings.

const HISTORY = ['graphiql:queries', 'graphiql:favorites'];

/** GraphiQL forgets that choice when its property is false: read it ourselves. */
export const keepsHeaders = () => localStorage.getItem('graphiql:shouldPersistHeaders') === 'true';

export const storage = {
  get length() {
    return localStorage.length;
  },
  getItem: (key) => localStorage.getItem(key),
  setItem(key, text) {
    const isHistory = HISTORY.includes(key) && !keepsHeaders();
    localStorage.setItem(key, isHistory ? withoutHeaders(text) : text);
  },
  removeItem: (key) => localStorage.removeItem(key),
  clear: () => localStorage.clear(),
};

function withoutHeaders(text) {
  return JSON.stringify(JSON.parse(text), (key, value) => (key === 'headers' ? undefined : value));
}
