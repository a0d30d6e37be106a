// Runs in the page.

/**
 * Texts that the reader can't see whole: out of the window, or cut off by a box
 * that does not scroll, without the rest in a title.
 */
export function cutOff(): string[] {
  const found: string[] = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    const own = text.parentElement;
    if (!own || !text.textContent?.trim() || own.closest('svg, .xterm, option, script, style')) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const { left, right, width, height } = range.getBoundingClientRect();
    if (width < 2 || height < 2 || getComputedStyle(own).visibility === 'hidden') continue;
    const name = text.textContent.trim().slice(0, 60);
    for (let e: Element | null = own; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.clipPath !== 'none') break; // for screen readers
      if (style.overflowX === 'auto' || style.overflowX === 'scroll') break;
      const box = e.getBoundingClientRect();
      if (style.overflowX !== 'visible' && (left < box.left - 1.5 || right > box.right + 1.5)) {
        if (style.textOverflow !== 'ellipsis' || !own.closest('[title]')) found.push(`cut off: ${name}`);
        break;
      }
      if (e === document.body && (left < -1 || right > innerWidth + 1))
        found.push(`out of the window: ${name}`);
    }
  }
  return [...new Set(found)];
}
