package dataset

import (
	"maps"
	"slices"
	"testing"

	"mvag-torch/configs"
)

// Every value of data.format has a reader, and there is no other reader.
func TestFormats(t *testing.T) {
	have, want := slices.Sorted(maps.Keys(readers)), slices.Sorted(slices.Values(configs.Formats))
	if !slices.Equal(have, want) {
		t.Errorf("have readers of %q, want those of %q", have, want)
	}
}
