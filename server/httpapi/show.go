package httpapi

import (
	"cmp"

	"kabel/labs"
	"kabel/server/session"
)

// showLab is a plan with its texts in a language.
func showLab(l *labs.Lab, plan *labs.Plan, language string) Lab {
	text := plan.Text(language)
	out := Lab{ID: l.ID, Title: text.Title, Summary: text.Summary, Track: l.Track, Minutes: l.Minutes, Language: text.Language,
		Intro: text.Intro, Variants: []LabVariant{}, Steps: []LabStep{}}
	variants := append([]string{session.DefaultVariant}, l.Variants...)
	if l.ID == labs.FreePlay || l.ID == labs.Demo {
		variants = nil // there is nothing to choose from
	}
	for _, id := range variants {
		out.Variants = append(out.Variants, LabVariant{ID: id, Title: cmp.Or(text.Variants[id], "Default")})
	}
	if l.Personal() {
		out.Variants = append(out.Variants, LabVariant{ID: labs.Personal, Title: text.Variants[labs.Personal]})
	}
	for _, step := range plan.Steps {
		words := text.Steps[step.ID]
		shown := LabStep{ID: step.ID, Title: words.Title, Text: words.Body, After: words.After, Commands: []LabCommand{}}
		for _, p := range step.Probes {
			shown.Probes = append(shown.Probes, LabProbe{p, p.Command()})
		}
		for _, c := range step.Do {
			shown.Commands = append(shown.Commands, LabCommand{Node: c.Node, Command: c.Text})
		}
		if step.Predict != nil {
			shown.Predict = &PredictShown{Question: words.Question, Options: []PredictOption{}}
			for _, id := range step.Predict.Options {
				shown.Predict.Options = append(shown.Predict.Options, PredictOption{ID: id, Text: words.Options[id]})
			}
		}
		out.Steps = append(out.Steps, shown)
	}
	return out
}
