/** What the page says aloud of what somebody just did, where nothing in sight would be read. */
class Said {
  text = $state('');

  say(text: string): void {
    this.text = text;
  }
}
export const said = new Said();
