package weights

import (
	"slices"
	"strings"
)

// publishedLicences are the licences under which pretrained weights were published, by family and by the tag that timm gives
// them: those of timm's pretrained configurations (1.0.31) that name one, those of Google's ViTs, of DINO and of DeiT
// (Apache-2.0) and of OpenAI's CLIP (MIT) as in the repositories that published them. A tag that is missing here, such
// as that of a fine-tuned model, may have another licence than what it was made from.
var publishedLicences = []struct {
	family  Family
	tags    []string
	licence string
}{
	{DINOv2, []string{"lvd142m"}, "Apache-2.0"},
	{DINOv3, []string{"lvd1689m", "sat493m"}, "DINOv3 License"},
	{ViT, []string{"augreg_in21k", "augreg_in1k", "augreg_in21k_ft_in1k", "augreg2_in21k_ft_in1k"}, "Apache-2.0"},
	{ViT, []string{"orig_in21k", "orig_in21k_ft_in1k", "sam_in1k"}, "Apache-2.0"},
	{ViT, []string{"dino", "fb_in1k"}, "Apache-2.0"},
	{ViT, []string{"mae"}, "CC-BY-NC-4.0"},
	{CLIP, []string{"openai", "laion400m_e32"}, "MIT"},
	{CLIP, []string{"metaclip_400m", "metaclip_2pt5b"}, "CC-BY-NC-4.0"},
	{CLIP, []string{"dfn2b", "dfn2b_s39b"}, "Apple Sample Code License"},
}

// PublishedLicence is the licence of the pretrained weights that timm calls name. It is "" where the name has no tag or
// an unknown one: then the name does not say whose weights they are.
func PublishedLicence(name string) string {
	arch, err := ParseArch(name)
	_, tag, _ := strings.Cut(name, ".")
	if err != nil || tag == "" {
		return ""
	}
	for _, p := range publishedLicences {
		if p.family == arch.Family && slices.Contains(p.tags, tag) {
			return p.licence
		}
	}
	return ""
}
