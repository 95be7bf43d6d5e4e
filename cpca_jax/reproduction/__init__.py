"""The deck's experiments as one plan of stages, with their tables and a page.

The deck is the 2017 talk "Transfer Learning for Low-Dose CT Denoising" of Shan et al., whose work
is published in IEEE TMI 37(6), 2018.
"""
