//go:build !(libjpeg && cgo)

package libjpeg

import "errors"

// Available says whether the program was built with libjpeg-turbo.
const Available = false

// Decode is an error in this build.
func Decode([]byte, int, []uint8) (Picture, error) {
	return Picture{}, errors.New("built without libjpeg-turbo")
}
