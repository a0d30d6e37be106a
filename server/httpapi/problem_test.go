package httpapi

import (
	"strings"
	"testing"

	"kabel/labs"
)

// Every problem has its words in every language of the labs, and says what it
// is about where English does.
func TestProblemsInEveryLanguage(t *testing.T) {
	english := words("en")
	for _, language := range labs.Languages() {
		spoken := words(language)
		for code := range statuses {
			w := spoken[code]
			if w.Title == "" || w.Detail == "" {
				t.Errorf("%s: no words for %s", language, code)
			}
			if got, want := strings.Contains(w.Detail, "{}"), strings.Contains(english[code].Detail, "{}"); got != want {
				t.Errorf("%s: %s names its subject: %v, in English: %v", language, code, got, want)
			}
		}
		if len(spoken) != len(statuses) {
			t.Errorf("%s has words for %d codes, there are %d", language, len(spoken), len(statuses))
		}
	}
	if p := problem("no-such-lab", "x").in("ko-KR,ko;q=0.9"); p.Title != words("ko")["no-such-lab"].Title || !strings.Contains(p.Detail, "x") {
		t.Errorf("in Korean: %+v", p)
	}
}
