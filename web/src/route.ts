/** Where the reader is. The session stands in the hash, so that a reload comes back to it. */
export type Place = { page: 'home' } | { page: 'lab'; lab: string; session: string };

export function parseHash(hash: string): Place {
  const [page, lab, session] = hash.replace(/^#\/?/, '').split('/').map(decode);
  return page === 'lab' && lab && session ? { page: 'lab', lab, session } : { page: 'home' };
}

export function formatHash(p: Place): string {
  return p.page === 'home' ? '#/' : `#/lab/${encodeURIComponent(p.lab)}/${encodeURIComponent(p.session)}`;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
