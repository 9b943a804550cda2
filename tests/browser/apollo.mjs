import { drive } from './example_app.mjs';

await drive('apollo');
