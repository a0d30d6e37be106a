package labs_test

import (
	"testing"

	"kabel/labs"
)

func TestBuiltInLabsLoad(t *testing.T) {
	c, err := labs.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	for _, lab := range c.Labs() {
		t.Log(lab.ID, lab.Variants)
	}
}
