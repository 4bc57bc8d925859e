package inspect

import (
	"crypto/sha256"
	"encoding/hex"

	"mvag-torch/model/checkpoint"
)

// Identity returns two SHA-256 in hexadecimal: of what decides scores ([checkpoint.File.Scoring]), and of the
// calibrations, which turn them into decisions. It reads the weights.
func (u *Setup) Identity() (scoring, calibration string, err error) {
	meta := u.file.Metadata()
	sum := sha256.Sum256([]byte(meta[checkpoint.CalibrationKey] + "\n" + meta[checkpoint.HeadsKey]))
	scoring, err = u.file.Scoring()
	return scoring, hex.EncodeToString(sum[:]), err
}
