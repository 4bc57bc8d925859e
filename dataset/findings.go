package dataset

import "fmt"

// Finding is a kind of problem that Check reports.
type Finding string

// The findings, in the order of the table.
const (
	MissingViews   Finding = "missing_views"    // views without an image
	Contaminated   Finding = "contaminated"     // defective training images
	NoMask         Finding = "no_mask"          // defective images without a mask
	Unreadable     Finding = "unreadable"       // images and masks that cannot be read
	MaskSize       Finding = "mask_size"        // masks that differ in size from their images
	EmptyMask      Finding = "empty_mask"       // masks without defective pixels
	Cropped        Finding = "cropped"          // masks that are empty after resize and crop
	TrainTestTwins Finding = "train_test_twins" // test images that equal a training image byte for byte
	LabelTwins     Finding = "label_twins"      // images that equal another image of the set with another label
	Turned         Finding = "exif_orientation" // images with an EXIF orientation that is not applied
	UnusedBits     Finding = "unused_bits"      // 16-bit images of a class that use fewer bits
	LossyMask      Finding = "mask_lossy"       // masks of lossy compression
	MaskLevels     Finding = "mask_levels"      // masks with more values than labels have
	FullMask       Finding = "mask_full"        // masks that mark every pixel
	InvertedMask   Finding = "mask_inverted"    // masks that mark most of the image and of its border
	MaskIsImage    Finding = "mask_is_image"    // masks that are the image itself
	MaskOnGood     Finding = "mask_on_good"     // masks of good images that mark pixels
	Enlarged       Finding = "enlarged"         // images that are enlarged to fill data.resize, with data.fit pad or tiles
)

// findings lists the kinds with their description, and says which would stop training or evaluation.
var findings = []struct {
	kind  Finding
	words string
	fatal bool
}{
	{MissingViews, "views without an image", false},
	{Contaminated, "defective training images", false},
	{NoMask, "defective images without a mask (pixel metrics of the class are n/a)", false},
	{Unreadable, "files that cannot be read", true},
	{MaskSize, "masks that differ in size from their images", true},
	{EmptyMask, "empty masks", false},
	{Cropped, "defects lost by resize and crop", false},
	{TrainTestTwins, "test images that equal a training image byte for byte", false},
	{LabelTwins, "images that equal another one byte for byte but have another label", false},
	{Turned, "images with an EXIF orientation that is not applied (data.exif)", false},
	{UnusedBits, "16-bit images that use fewer bits, and so are dark (data.bits)", false},
	{LossyMask, "masks of lossy compression, or saved again after one, defective from half of their highest value on", false},
	{MaskLevels, fmt.Sprintf("masks of more than %d values (antialiased, or a photograph); any but 0 is a defect", MaxLevels), false},
	{FullMask, "masks that mark every pixel", false},
	{InvertedMask, "masks that mark most of the image and of its border (inverted?)", false},
	{MaskIsImage, "masks that are the image itself", false},
	{MaskOnGood, "masks that mark pixels of images labelled good", false},
	{Enlarged, "images smaller than data.resize, enlarged to fill it", false},
}

// line describes a finding about the decoded image of v.
func (f Finding) line(v View, r raster) string {
	if f == Turned {
		return fmt.Sprintf("%s: orientation %d", printable(v.Path), r.orientation)
	}
	return fmt.Sprintf("%s: %dx%d pixels", printable(v.Path), r.w, r.h)
}
