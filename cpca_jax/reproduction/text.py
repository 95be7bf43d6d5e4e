"""What the page of a reproduction says around its numbers."""

TEXT = {
    "intro": (
        "In 2017 Shan et al. showed on slides how a network that denoises low-dose CT slice by "
        "slice can be turned into one that looks at neighbouring slices too, and how that compares "
        "with other networks. This page repeats their experiments and puts our numbers where "
        "theirs stood. Every number was measured in this run; nothing is copied but what is marked "
        "as the deck's."
    ),
    "demo": (
        "This is the demonstration: trainings of a few steps on small phantoms, which show that "
        "everything runs and nothing about the methods."
    ),
    "small": (
        "Trainings of minutes on two cores instead of days on a GPU: 600 steps of 4 to 16 patches, "
        "rates ten times the deck's, a critic half as wide, VGG16 at a shallow layer instead of "
        "VGG19, lambda_p 5 for its shorter distances, GAN-3D a quarter as wide and without "
        "normalisation. They show differences in kind; which method would win after a full "
        "training they do not."
    ),
    "full": (
        "Trainings at the deck's size: 128,000 patches an epoch, drawn afresh, for 40 epochs; the "
        "other methods by the nearest public recipe, which their configurations name."
    ),
    "orderings": (
        "The deck's statements as differences of two methods on the same slices. 'Holds': the "
        "difference has the deck's direction with p at most 0.05, by flipping the signs of the "
        "patients' mean differences; 'contradicted': the same in the other direction. 'In the "
        "mean' and 'other way' are differences that chance explains as well. Of curves, the number "
        "of epochs is given. More PSNR is better, less perceptual distance is better; the deck's "
        "is of VGG19, so only its sign compares. There is one training of each method: p speaks "
        "of other patients, not of another training, and nothing is corrected for the number of "
        "statements. n patients never give a p below 2 / 2^n."
    ),
    "scratch": (
        "Scores on {slices} slices of validation patients after each epoch. CPCA-i sees i "
        "neighbouring slices. The dashed line is the low-dose image itself."
    ),
    "transfer": (
        "CPCA_TF-i is CPCA-1 as it was at epoch {first}, each 3x3 filter put in the middle of an "
        "empty 3x3x3, then fine-tuned. Its curve must begin on that of CPCA-1. As in the deck, "
        "fine-tuning has a higher rate than training from scratch at the same epoch."
    ),
    "steps": "Each method against the one above it, on the same slices.",
    "signs": " p by flipping the signs of the patients' mean differences.",
    "real": (
        "Slices that are not neighbours: networks of single slices only. Where they are the Mayo "
        "challenge's, the deck's own numbers stand beside ours; its perceptual distance is of "
        "VGG19 and not on the same scale."
    ),
    "cases": (
        "The two test patients with the largest lesions, in the deck's two HU windows; what "
        "the frame holds is shown larger below."
    ),
    "filters": (
        "What if the new filters do not start as [0, H, 0]? Random ones, or the symmetric closed "
        "form [H/4, H/2, H/4], with everything else as in CPCA_TF."
    ),
    "critics": (
        "What becomes of the balance between generator and critic: the critic carried over from "
        "the 2D training, a new one, and, where the 2D network was trained by mean squared error "
        "and so had no critic, a new one with and without being trained alone first."
    ),
    "observer": (
        "Lesions of known size and contrast are put into phantoms before the dose is lowered. A "
        "channelised Hotelling observer (Laguerre-Gauss channels) learns on half of the regions to "
        "tell those with a lesion from those without, and is tested on the other half; readers "
        "differ in the halves ({readers} readers, up to {rois} regions in each of {phantoms} "
        "phantoms, every other one with a lesion). d' is the distance of the two groups in "
        "standard deviations, AUC the share of pairs told apart. Intervals are of readers; that "
        "regions of one phantom are alike is not in them. Marked as less visible: the lesion is "
        "seen less well than in the noisy low-dose image, whatever PSNR says."
    ),
    "lambda": (
        "CPCA-1 with different weights of the perceptual loss ({field}), trained without one part "
        "of the patients and scored on it, for each of {folds} parts. Values are means over the "
        "parts, with the lowest and the highest, after trainings shorter than those above. The "
        "perceptual distance is what the weight weighs, so larger weights tend to win by it."
    ),
}
