package capture

// What a Viewer is told, each as a message of its own; a Batch is composed from
// parts that its viewers share.
type (
	// Started comes first, and again when there is another filter or another world.
	Started struct {
		Type    string `json:"type" enum:"start"`
		Started string `json:"started" doc:"times of rows count from then; empty while nothing is captured"`
		Filter  string `json:"filter"`
		Snap    int    `json:"snap" doc:"how many bytes of each packet are kept"`
		Resumed bool   `json:"resumed" doc:"the list goes on; otherwise it begins anew"`
	}
	// Batch has rows that are new or have changed.
	Batch struct {
		Type string `json:"type" enum:"batch"`
		Seq  uint64 `json:"seq"`
		Lost Lost   `json:"lost"`
		Gap  int    `json:"gap,omitempty" doc:"how many changes of rows were left out before this"`
		Rows []Row  `json:"rows" nullable:"false"`
	}
	// FilterError says why a filter can't be understood; the one before stays.
	FilterError struct {
		Type       string `json:"type" enum:"filter-error"`
		Position   int    `json:"position" doc:"in bytes"`
		Message    string `json:"message"`
		Suggestion string `json:"suggestion,omitempty"`
	}
	// Paused answers to a pause.
	Paused struct {
		Type string `json:"type" enum:"paused"`
	}
	// Ended comes last.
	Ended struct {
		Type   string `json:"type" enum:"ended"`
		Reason string `json:"reason"`
	}
)
