"""The plots' geometry: records in, coordinates and SVG path data out. Pure; the templates draw them and CSS colours them.

Plots that have time on their x axis are drawn in a viewBox of 1000 x 100 that is stretched to the width there is, so that a
phone and a wide screen get the same picture with text of one size; their labels are placed in per cent. Square plots keep their
aspect.

Does not belong here: markup, colours, words about outcomes, statistics.
"""
