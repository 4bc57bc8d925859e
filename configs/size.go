package configs

import (
	"encoding/json"
	"fmt"
	"image"
	"math"

	"gopkg.in/yaml.v3"
)

// Size is a height and a width in pixels. In YAML, a square is a number, any other size a list: 392 or [392, 784].
type Size [2]int

// Square is the size of a square.
func Square(side int) Size { return Size{side, side} }

// Height is the number of rows.
func (s Size) Height() int { return s[0] }

// Width is the number of columns.
func (s Size) Width() int { return s[1] }

// Area is the number of pixels.
func (s Size) Area() int { return s[0] * s[1] }

// Bounds is the rectangle of its pixels, from (0, 0) on.
func (s Size) Bounds() image.Rectangle { return image.Rect(0, 0, s.Width(), s.Height()) }

// String is "392" for a square, "392 x 784" otherwise, the height first.
func (s Size) String() string {
	if s[0] == s[1] {
		return fmt.Sprint(s[0])
	}
	return fmt.Sprintf("%d x %d", s[0], s[1])
}

// MarshalYAML implements [yaml.Marshaler].
func (s Size) MarshalYAML() (any, error) {
	if s[0] == s[1] {
		return s[0], nil
	}
	var node yaml.Node
	err := node.Encode([]int(s[:]))
	node.Style |= yaml.FlowStyle
	return &node, err
}

// Viewport is the part of a resized image that the model sees, in pixels of that: the crop, or all of it in tiles.
func (d Data) Viewport() Size {
	if d.Fit == "tiles" {
		return d.Resize
	}
	return d.Crop
}

// MapSize is the size of the anomaly map of an image: its longer side is eval.map_size, its shape that of the viewport.
func (c *Config) MapSize() Size {
	view := c.Data.Viewport()
	longer := float64(max(view.Height(), view.Width()))
	side := func(n int) int { return max(1, int(math.Round(float64(n)/longer*float64(c.Eval.MapSize)))) }
	return Size{side(view.Height()), side(view.Width())}
}

// Top is the fraction of the pixels of a map whose mean is the image score: eval.top of those that the crop covers.
func (c *Config) Top() float64 {
	return c.Eval.Top * (float64(c.Data.Crop.Area()) / float64(c.Data.Viewport().Area())) // eval.top itself where they are equal
}

// MarshalJSON implements [json.Marshaler]; as in YAML, a square is a number.
func (s Size) MarshalJSON() ([]byte, error) {
	if s[0] == s[1] {
		return json.Marshal(s[0])
	}
	return json.Marshal([2]int(s))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Size) UnmarshalJSON(text []byte) error {
	var side int
	if json.Unmarshal(text, &side) == nil {
		*s = Square(side)
		return nil
	}
	var sides []int
	if err := json.Unmarshal(text, &sides); err != nil || len(sides) != 2 {
		return fmt.Errorf("have %s, want a number or [height, width]", text)
	}
	*s = Size{sides[0], sides[1]}
	return nil
}
