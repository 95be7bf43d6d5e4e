"""What the page of a reproduction says around its numbers."""

TEXT = {
    "intro": (
        "In 2017 Shan et al. showed on slides how a network that denoises quarter-dose CT slice by "
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
        "Trainings of minutes on two cores instead of days on a GPU: 600 steps of 8 patches, a "
        "critic half as wide, VGG16 at a shallow layer instead of VGG19. They show differences in "
        "kind; which method would win after a full training they do not."
    ),
    "full": (
        "Trainings at the deck's size: 128,000 patches an epoch, 40 epochs; the other methods as "
        "their authors published them."
    ),
    "orderings": (
        "The deck's statements as differences of two methods on the same slices. 'Holds' means a "
        "difference in the deck's direction with p at most 0.05, by flipping the signs of the "
        "patients' mean differences; 'contradicted' the same in the other direction. Of curves, "
        "the number of epochs is given. PSNR and SSIM: more is better; perceptual distance: less "
        "is better."
    ),
    "scratch": (
        "Scores on validation patients after each epoch. CPCA-i sees i neighbouring slices. The "
        "dashed line is the quarter-dose image itself."
    ),
    "transfer": (
        "CPCA_TF-i is CPCA-1 as it was at epoch {first}, each 3x3 filter put in the middle of an "
        "empty 3x3x3, then fine-tuned. Its curve must begin on that of CPCA-1."
    ),
    "steps": (
        "Each method against the one above it, on the same slices; p by flipping the signs of the "
        "patients' mean differences."
    ),
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
        "differ in the halves. d' is the distance of the two groups in standard deviations, AUC "
        "the share of pairs told apart. 'Lost': the lesion is seen less well than in the noisy "
        "quarter-dose image, whatever PSNR says."
    ),
    "lambda": (
        "CPCA-1 with different weights of the perceptual loss ({field}), trained without one part "
        "of the patients and scored on it, for each of {folds} parts. Values are means over the "
        "parts, with the lowest and the highest."
    ),
}
