// What client.js gives to a page that wants the data without our markup. Import it by its address, or keep this file
// beside your code and name it there.

export interface Counts {
  /** Users and guests. */
  total: number;
  users: number;
  guests: number;
  /** Crawlers are in no total. */
  bots: number;
}

export interface User {
  id: string;
  name: string | null;
  /** An `https:` URL, or a path. */
  avatar: string | null;
  state: "online" | "away";
  /** Times are RFC 3339, in UTC. */
  since: string;
  last_seen: string | null;
  location: { path: string; title: string | null } | null;
  /** How many pages they have open. */
  tabs: number;
}

export interface Presence {
  /** Grows with every change. */
  version: number;
  counts: Counts;
  /** The latest first; none where names were not asked for, or may not be seen. */
  users: User[];
  /** Who came, if that was the news. */
  joins: User[];
  /** Who went, if that was the news; of somebody who was not on the list, the id alone. */
  leaves: (User | Pick<User, "id">)[];
}

export interface Options {
  /** Only those on pages about this, which this page is then, too. 1 to 128 bytes. */
  topic?: string;
  /** Only those on this page. */
  path?: string;
  /** How many users are listed at the most; 0 to 1000, 50 unless told. */
  limit?: number;
  /** Whether to list users, or tell the counts alone. */
  names?: boolean;
  /** Seconds between two questions while there is no connection; 30 unless told. */
  refresh?: number;
  /** Seconds without a key or a pointer after which this visitor is shown as away; 300 unless told. */
  idle?: number;
}

/** Fulfilled when this page has been reported. */
export const ready: Promise<void>;

/**
 * Calls `listener` with who is online, at first and whenever it changes, until the function that it gives back is called.
 * To have loaded the module is enough for this page to be reported as open.
 */
export function subscribe(listener: (presence: Presence) => void, options?: Options): () => void;
