"""The geometry of the plots: functions take records and return coordinates and SVG path data.

The templates draw the plots, and CSS colours them. A plot with time on its x axis uses a viewBox of 1000 x 100, which the page
stretches to the available width. Its labels are placed in per cent, so text has the same size on a phone and on a wide screen.
Square plots keep their aspect ratio.

What does not belong here: markup, colours, names of outcomes, statistics.
"""
