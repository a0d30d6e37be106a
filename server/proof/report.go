package proof

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"kabel/labs"
)

// Report is what came of a proof.
type Report struct {
	Labs    []*Lab  `json:"labs"`
	Seconds float64 `json:"seconds"`
}

// Lab is the proof of one variant of a lab: what it has, and what was played.
type Lab struct {
	Lab     string `json:"lab"`
	Variant string `json:"variant"`
	Steps   int    `json:"steps"`
	// Checks are the conditions that were written: of steps and of hints.
	Checks      int      `json:"checks"`
	Hints       int      `json:"hints"`
	Wrong       int      `json:"wrong"` // solutions that were tried
	Predictions int      `json:"predictions"`
	Ways        []Way    `json:"ways"`
	Languages   []string `json:"languages"` // in which nothing is missing
	Cases       []Case   `json:"cases"`

	lacks map[string][]string
}

// Kind says what a case is about.
type Kind string

// The kinds of cases.
const (
	KindSolution Kind = "solution" // a step is done; named by the way and the round
	KindUndo     Kind = "undo"     // what was built up to a step is torn down
	KindReset    Kind = "reset"    // a step is reset to
	KindWrong    Kind = "wrong"    // a wrong solution, by its id
	KindHint     Kind = "hint"     // a hint, by its id: some mistake makes it
	KindLanguage Kind = "language" // a language has all that is said
)

var kinds = []Kind{KindSolution, KindUndo, KindReset, KindWrong, KindHint, KindLanguage}

// Case is one thing that was proved, if it has no faults.
type Case struct {
	Kind    Kind     `json:"kind"`
	Step    string   `json:"step,omitempty"`
	Name    string   `json:"name"`
	Seconds float64  `json:"seconds"`
	Faults  []string `json:"faults,omitempty"`
}

func (c Case) String() string {
	return strings.Join(slices.DeleteFunc([]string{c.Step, string(c.Kind), c.Name}, func(s string) bool { return s == "" }), " ")
}

func (s *subject) newLab(lab *labs.Lab, variant string) *Lab {
	l := &Lab{Lab: lab.ID, Variant: variant, Steps: s.to - s.from, Ways: s.Ways, lacks: lab.Lacks}
	if s.brief {
		l.Ways = []Way{Button}
	}
	for _, step := range s.plan.Steps[s.from:s.to] {
		l.Checks++
		l.Hints += len(step.Hints)
		for _, h := range step.Hints {
			if h.When != nil {
				l.Checks++
			}
		}
		if !s.brief {
			l.Wrong += len(step.Wrong)
		}
		if step.Predict != nil {
			l.Predictions++
		}
	}
	for _, lang := range labs.Languages() {
		if len(lab.Lacks[lang]) == 0 {
			l.Languages = append(l.Languages, lang)
		}
	}
	return l
}

// Name is the lab and its variant.
func (l *Lab) Name() string { return l.Lab + " (" + l.Variant + ")" }

// Faulty counts the cases with faults.
func (l *Lab) Faulty() (n int) {
	for _, c := range l.Cases {
		if len(c.Faults) > 0 {
			n++
		}
	}
	return n
}

// seconds is how long the lab was played, one case after another.
func (l *Lab) seconds() (sum float64) {
	for _, c := range l.Cases {
		sum += c.Seconds
	}
	return sum
}

// Faulty counts the cases with faults.
func (r *Report) Faulty() (n int) {
	for _, l := range r.Labs {
		n += l.Faulty()
	}
	return n
}

// WriteText writes what a person wants to know: the faults, the slowest steps, and
// a table.
func (r *Report) WriteText(w io.Writer) error {
	for _, l := range r.Labs {
		for _, c := range l.Cases {
			for _, f := range c.Faults {
				if _, err := fmt.Fprintf(w, "FAULT  %s, %s: %s\n", l.Name(), c, strings.ReplaceAll(f, "\n", "\n       ")); err != nil {
					return err
				}
			}
		}
	}
	if _, err := fmt.Fprintf(w, "the slowest: %s\n\n", strings.Join(r.slowest(5), "; ")); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "lab\tvariant\tsteps\tchecks\twrong\thints\tpredict\tways\tlanguages\tcases\tfaults\tplayed\t")
	var sum Lab
	cases, played := 0, 0.0
	for _, l := range r.Labs {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%d\t%d\t%.1f s\t\n", l.Lab, l.Variant, l.Steps, l.Checks, l.Wrong, l.Hints, l.Predictions,
			joined(l.Ways), strings.Join(l.Languages, " "), len(l.Cases), l.Faulty(), l.seconds())
		sum.Steps += l.Steps
		sum.Checks += l.Checks
		sum.Wrong += l.Wrong
		sum.Hints += l.Hints
		sum.Predictions += l.Predictions
		cases += len(l.Cases)
		played += l.seconds()
	}
	fmt.Fprintf(t, "in all\t\t%d\t%d\t%d\t%d\t%d\t\t\t%d\t%d\t%.1f s\t\n", sum.Steps, sum.Checks, sum.Wrong, sum.Hints, sum.Predictions, cases, r.Faulty(), played)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "it took %.1f s, side by side\n", r.Seconds)
	return err
}

func joined(ways []Way) string {
	var out []string
	for _, w := range ways {
		out = append(out, string(w))
	}
	return strings.Join(out, " ")
}

// slowest names the n cases that took longest, one for each step.
func (r *Report) slowest(n int) (out []string) {
	type timed struct {
		where string
		Case
	}
	var all []timed
	for _, l := range r.Labs {
		for _, c := range l.Cases {
			all = append(all, timed{l.Lab, c})
		}
	}
	slices.SortFunc(all, func(a, b timed) int { return cmp.Compare(b.Seconds, a.Seconds) })
	seen := map[string]bool{}
	for _, c := range all {
		if step := c.where + " " + c.Step; !seen[step] && len(out) < n {
			seen[step] = true
			out = append(out, fmt.Sprintf("%s %s %.1f s", c.where, c.Case, c.Seconds))
		}
	}
	return out
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// JUnit's form, as far as CI systems read it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes what CI systems show: a suite for each lab and variant, a test
// for each case.
func (r *Report) WriteJUnit(w io.Writer) error {
	seconds := func(s float64) string { return fmt.Sprintf("%.3f", s) }
	all := junitSuites{Name: "labs", Failures: r.Faulty(), Time: seconds(r.Seconds)}
	for _, l := range r.Labs {
		suite := junitSuite{Name: l.Name(), Tests: len(l.Cases), Failures: l.Faulty(), Time: seconds(l.seconds())}
		for _, c := range l.Cases {
			jc := junitCase{Class: strings.TrimSuffix(l.Lab+"."+l.Variant+"."+c.Step, "."), Name: string(c.Kind) + " " + c.Name, Time: seconds(c.Seconds)}
			if len(c.Faults) > 0 {
				message, _, _ := strings.Cut(c.Faults[0], "\n")
				jc.Failure = &junitFailure{message, strings.Join(c.Faults, "\n")}
			}
			suite.Cases = append(suite.Cases, jc)
		}
		all.Tests += suite.Tests
		all.Suites = append(all.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
