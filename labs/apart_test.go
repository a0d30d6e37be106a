package labs_test

import (
	"testing"

	"kabel/labs"
)

// TestTheDemoIsToldInEveryLanguage: each step has words of each language's own.
func TestTheDemoIsToldInEveryLanguage(t *testing.T) {
	c, err := labs.BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	if c.Lab(labs.Demo) != nil {
		t.Error("the demo is listed")
	}
	plan, err := c.Demo().Plan("")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, l := range labs.Languages() {
		text := plan.Text(l)
		words := []string{text.Title, text.Summary, text.Intro}
		for _, step := range plan.Steps {
			words = append(words, text.Steps[step.ID].Title, text.Steps[step.ID].Body)
		}
		for _, w := range words {
			if w == "" || said[w] != "" {
				t.Errorf("%s says %q as %s does", l, w, said[w])
			}
			said[w] = l
		}
	}
}
