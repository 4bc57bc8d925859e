package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
)

// Where good objects are from.
const (
	fromHoldout   = "hold-out of training"
	fromOtherData = "good objects of another data set than the training's"
)

// goodObjects are those of the arguments, else the hold-out of training, with the source of their images and a name.
func goodObjects(c *cli.Context, setup *inspect.Setup) ([]dataset.Object, dataset.Source, string, error) {
	files := dataset.NewSource(setup.Config.Data)
	if !c.Args().Present() {
		trained := setup.Trained.Config
		if trained.Train.Holdout == 0 {
			return nil, files, "", usageError{fmt.Errorf("%s: have no hold-out (train.holdout is 0), want PATH… of good images", setup.Path)}
		}
		data, err := dataset.Open(setup.Config.Data)
		if err != nil {
			return nil, files, "", err
		}
		logLines(data.Remarks())
		good, from, err := holdoutOf(setup, data)
		return good, data.Source, from, err
	}
	if c.IsSet("config") {
		return nil, files, "", usageError{errors.New("have -c and PATH, want one of them")}
	}
	found, err := collect(c, setup, true)
	if err != nil {
		return nil, files, "", err
	}
	sayDefective(found.Objects)
	if len(found.Rejected) > 0 {
		return nil, files, "", fmt.Errorf("%s: %w", found.Rejected[0].Path, found.Rejected[0].Err)
	}
	return found.Objects, files, "images given to calibrate", nil
}

// holdoutOf returns the hold-out of training among the training objects of data and what to call it. In a data set of
// other training objects nobody knows the hold-out: then all of them are taken, which is said.
func holdoutOf(setup *inspect.Setup, data *dataset.Set) ([]dataset.Object, string, error) {
	trained := setup.Trained
	same := true
	if trained.TrainLists != nil { // else the file is older than the lists, and perhaps than the names of cameras
		if have, want := data.Naming.Cameras, trained.Naming.Cameras; !slices.Equal(have, want) {
			return nil, "", fmt.Errorf("cameras: have %q, want %q as in %s", have, want, setup.Path)
		}
		for class, list := range data.TrainLists() {
			same = same && trained.TrainLists[class] == list
		}
	}
	if same {
		_, holdout := data.HoldOut(trained.Config.Train.Holdout, trained.Config.Seed)
		return holdout, fromHoldout, nil
	}
	fmt.Fprintf(os.Stderr, "the data set has other training objects than that of %s, so that its hold-out is unknown: "+
		"all %d that the model was not trained on are taken\n", setup.Path, len(data.Train))
	return data.Train, fromOtherData, nil
}

// collect groups the images of the arguments into objects and says which files it passes over. Images are named as
// those of the training were, or as --pattern says. good says that only good images are wanted.
func collect(c *cli.Context, setup *inspect.Setup, good bool) (dataset.Collected, error) {
	classes := setup.Classes()
	class := dataset.Canonical(c.String("class"))
	if class != "" && classes != nil && !slices.Contains(classes, class) {
		return dataset.Collected{}, usageError{fmt.Errorf("--class: have %q, want a class that %s knows: %s", class, setup.Path, quoted(classes))}
	}
	found, err := group(c, setup, class, classes, good)
	if err == nil {
		sayUnknown(found.Objects, classes, setup.Path)
	}
	return found, err
}

// group is collect for a class that the model need not know; classes are those that a Real-IAD name may begin with.
func group(c *cli.Context, setup *inspect.Setup, class string, classes []string, good bool) (dataset.Collected, error) {
	naming := setup.Trained.Naming
	if c.IsSet("pattern") {
		naming.Pattern = c.String("pattern")
		if err := naming.Check(); err != nil {
			return dataset.Collected{}, usageError{fmt.Errorf("--%w", err)}
		}
	}
	found, err := dataset.Collect(c.Args().Slice(), dataset.CollectOptions{
		Naming: naming, Views: setup.Config.Data.Views, Class: class, Classes: classes, Good: good, Stdin: untilEnd{c.Context, os.Stdin},
	})
	if err != nil {
		return found, fmt.Errorf("%w; no image was judged", err)
	}
	if text := found.PassedOver.String(); text != "" {
		fmt.Fprintf(os.Stderr, "passed over: %s\n", text)
	}
	sayAlone(found.Objects, setup)
	sayAbsent(found.Objects)
	return found, nil
}

// quoted lists names.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(list, ", ")
}

// sayUnknown counts and names the classes of objects that are not among those known, which may be nil.
func sayUnknown(objects []dataset.Object, known []string, model string) {
	unknown, total := map[string]int{}, 0
	for _, o := range objects {
		if o.Class != "" && len(known) > 0 && !slices.Contains(known, o.Class) {
			unknown[o.Class]++
			total++
		}
	}
	if total == 0 {
		return
	}
	var list []string
	for _, class := range slices.Sorted(maps.Keys(unknown)) {
		list = append(list, fmt.Sprintf("%q (%d)", class, unknown[class]))
	}
	fmt.Fprintf(os.Stderr, "%s of a class that %s does not know: %s; known: %s\n",
		count(total, "object"), model, strings.Join(list, ", "), quoted(known))
}

// sayAlone counts the single images given to a model of several views.
func sayAlone(objects []dataset.Object, setup *inspect.Setup) {
	alone, first := 0, ""
	for _, o := range objects {
		if views := setup.Config.Data.Views; views > 1 && len(o.Views) == 1 {
			alone++
			first = cmp.Or(first, o.Views[0].Path)
		}
	}
	if alone > 0 {
		fmt.Fprintf(os.Stderr, "without a camera in its name, and so judged alone by a model of %d views: %s; the first: %s\n",
			setup.Config.Data.Views, count(alone, "image"), first)
	}
}

// sayAbsent counts the views of objects that have no image.
func sayAbsent(objects []dataset.Object) {
	absent, first := 0, ""
	for _, o := range objects {
		for _, v := range o.Views {
			if !v.Present() {
				absent++
				first = cmp.Or(first, dataset.MissingView{Object: o.ID, Camera: v.Camera}.String())
			}
		}
	}
	if absent > 0 {
		fmt.Fprintf(os.Stderr, "views without an image: %d; the first: %s\n", absent, first)
	}
}

// defectiveName matches a path that speaks of defects: a folder of defective images in the layouts that data sets have,
// or a name of Real-IAD's.
// A folder of good images below takes that back.
var (
	defectiveName = regexp.MustCompile(`(?i)(^|/)(ng|ko|bad|defects?|defective|anomaly|anomalous)/|_NG_[^/]*$`)
	goodFolder    = regexp.MustCompile(`(?i)^.*/(good|ok|normal)/`)
)

// sayDefective counts the objects given as good whose names speak of defects.
func sayDefective(objects []dataset.Object) {
	var named []dataset.Object
	for _, o := range objects {
		if slices.ContainsFunc(o.Views, func(v dataset.View) bool {
			path := filepath.ToSlash(v.Path)
			return defectiveName.MatchString("/" + path[len(goodFolder.FindString(path)):])
		}) {
			named = append(named, o)
		}
	}
	if len(named) > 0 {
		fmt.Fprintf(os.Stderr, "%d of %s have names of defective ones (%s): thresholds from defective objects are too high\n",
			len(named), count(len(objects), "object"), firstOf(named))
	}
}

// count is a number and what it counts: "1 image", "2 images".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "s") {
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// tooFew says that there are not enough objects to calibrate with.
type tooFew struct {
	objects, want int
	reasons       []string
}

func (e *tooFew) Error() string {
	text := fmt.Sprintf("have %s, want at least %d", count(e.objects, "good object"), e.want)
	if len(e.reasons) > 0 {
		text += ": " + strings.Join(e.reasons, "; ")
	}
	return text
}

// sift returns the good objects that say something new about a model, and where they come from: objects of training
// images are left out, and copies count once, which is said. Fewer than least are an error.
func sift(
	ctx context.Context, setup *inspect.Setup, good []dataset.Object, source dataset.Source, from string, least int,
) ([]dataset.Object, string, error) {
	trained := setup.Trained.TrainImages
	if trained == nil {
		fmt.Fprintf(os.Stderr, "%s does not know its training images: good images that it was trained on are not left out\n", setup.Path)
	}
	found, err := source.Sift(ctx, good, trained)
	if err != nil {
		return nil, "", err
	}
	few := &tooFew{objects: len(found.New), want: least}
	for _, kind := range []struct {
		objects []dataset.Object
		are     string
		without string
	}{{found.Trained, "have training images of this model", "trained on"}, {found.Copies, "are copies of others, byte for byte", "that are copies"}} {
		if n := len(kind.objects); n > 0 {
			few.reasons = append(few.reasons, fmt.Sprintf("%d of %s %s (%s)", n, count(len(good), "object"), kind.are, firstOf(kind.objects)))
			from += fmt.Sprintf(", without %d %s", n, kind.without)
		}
	}
	if few.objects < few.want {
		return nil, "", few
	}
	for _, why := range few.reasons {
		fmt.Fprintf(os.Stderr, "left out: %s\n", why)
	}
	return found.New, from, nil
}

// firstOf names the first objects of a list.
func firstOf(objects []dataset.Object) string {
	const most = 3
	var names []string
	for _, o := range objects[:min(most, len(objects))] {
		names = append(names, o.ID)
	}
	text := quoted(names)
	if len(objects) > most {
		text += ", …"
	}
	return text
}
